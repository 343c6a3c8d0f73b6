package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"orderbox/internal/envfile"
	"orderbox/internal/testservers"
	"orderbox/internal/verify"
	"orderbox/publisher"
)

// orderly is how long stopping may take. It takes under 5 s, which a machine that is busy with other things
// need not keep; the log has the time that it took.
const orderly = 20 * time.Second

// mustTerminate orders the program to stop and fails the test unless it does, in order and soon.
func (p *program) mustTerminate(signal os.Signal) {
	p.tb.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.tb.Fatal(err)
	}
	late := time.AfterFunc(orderly, func() { p.cmd.Process.Kill() }) // which Wait tells
	err := p.cmd.Wait()
	late.Stop()
	took := time.Since(began)
	p.tb.Logf("%v: stopped after %v", signal, took.Round(time.Millisecond))
	if err != nil {
		p.tb.Errorf("stopping: %v after %v", err, took)
	}
}

// freeAddress is one that nobody listens at for the moment.
func freeAddress(tb testing.TB) string {
	tb.Helper()
	listener, err := listen(tb.Context(), "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// replicaEnv is what a replica needs to know.
func replicaEnv(db testservers.DB, broker testservers.STAN, channel, clientID string) []string {
	return []string{"ORDERBOX_DATABASE_URL=" + db.ServiceURL, "ORDERBOX_NATS_URL=" + broker.URL,
		"ORDERBOX_STAN_CLUSTER=" + broker.Cluster, "ORDERBOX_CHANNEL=" + channel, "ORDERBOX_CLIENT_ID=" + clientID}
}

// generated returns messages of every kind, and the ids of the orders among them.
func generated(seed uint64, n int) (payloads [][]byte, uids []string) {
	for m := range publisher.Messages(seed, n, 0.1) {
		payloads = append(payloads, m.Payload)
		if m.Verdict == publisher.VerdictOrder {
			uids = append(uids, m.OrderUID)
		}
	}
	return payloads, uids
}

// What was committed when the stop was ordered has been acknowledged when the program ends.
func TestStoppingUnderLoadLeavesNothingToDeliverAgain(t *testing.T) {
	t.Parallel()
	const messages = 20_000
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	payloads, _ := generated(31, messages)
	pool := testservers.Open(t, db.ServiceURL, 1)
	received := func() int64 {
		b, err := verify.Stats(t.Context(), pool)
		if err != nil {
			t.Fatal(err)
		}
		return b.Received
	}
	var publishing sync.WaitGroup
	defer publishing.Wait()
	publishing.Go(func() { mustPublish(t, broker.URL, broker.Cluster, channel, 0, payloads...) })

	env, address := replicaEnv(db, broker, channel, channel), freeAddress(t)
	for range 3 {
		before := received()
		p := mustProgram(t, env, "serve", "--listen", address)
		testservers.Eventually(t, "messages come in", func() bool { return received() > before+1000 || received() == messages })
		p.mustTerminate(syscall.SIGTERM)
	}
	publishing.Wait()
	before := received()
	last := mustProgram(t, env, "serve", "--listen", address)
	testservers.Eventually(t, "everything is received", func() bool { return received() == messages })
	testservers.Eventually(t, "it is ready", func() bool { return askReady(t.Context(), "http://"+address) == nil })
	number := func(name string) float64 {
		return mustMeasure(t, "http://"+address, "orderbox_ingest_"+name+`{source="stan"}`)
	}
	again := number("batch_messages_sum") - number("stored_total")
	t.Logf("%d in the log after three stops; delivered again: %v, of which were in the log: %v", before, number("redelivered_total"), again)
	if again != 0 {
		t.Errorf("%v messages were committed and not acknowledged", again)
	}
	last.mustTerminate(syscall.SIGTERM)
	testservers.Eventually(t, "it adds up", func() bool { return mustCheck(t, db.ServiceURL).Received == messages })
	if r := mustCheck(t, db.ServiceURL); r.Gaps != 0 {
		t.Errorf("gaps %+v", r.GapRanges)
	}
}

// balancer sends lookups to replicas by turns, as load balancers do: to those whose /readyz says yes.
type balancer struct {
	client   http.Client
	replicas []*replica
	turn     atomic.Int64
	answered atomic.Int64
}

type replica struct {
	url string
	in  atomic.Bool
}

func (b *balancer) probe(ctx context.Context) {
	var group sync.WaitGroup
	for _, r := range b.replicas {
		group.Go(func() {
			for ctx.Err() == nil {
				r.in.Store(askReady(ctx, r.url) == nil)
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
	group.Wait()
}

// lookUp asks the next replica, once.
func (b *balancer) lookUp(ctx context.Context, uid string) error {
	turn := int(b.turn.Add(1))
	for i := range b.replicas {
		r := b.replicas[(turn+i)%len(b.replicas)]
		if !r.in.Load() {
			continue
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/api/v1/orders/"+uid, nil)
		if err != nil {
			return err
		}
		response, err := b.client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		var order struct {
			OrderUID string `json:"order_uid"`
		}
		if err := json.Unmarshal(body, &order); err != nil || response.StatusCode != http.StatusOK || order.OrderUID != uid {
			return fmt.Errorf("%s answered %d %s", r.url, response.StatusCode, body)
		}
		b.answered.Add(1)
		return nil
	}
	return errors.New("no replica is ready")
}

func TestRollingRestartFailsNoLookup(t *testing.T) {
	t.Parallel()
	const known, messages = 500, 8_000
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	start := func(i int, address string) *program {
		// A longer drain than the default, for here the balancer competes with everything else for the processors.
		return mustProgram(t, replicaEnv(db, broker, channel, fmt.Sprintf("%s-%d", channel, i)), "serve", "--listen", address, "--drain", "4s")
	}
	b := &balancer{}
	var programs []*program
	for i := range 2 {
		address := freeAddress(t)
		programs = append(programs, start(i, address))
		b.replicas = append(b.replicas, &replica{url: "http://" + address})
	}
	first, uids := generated(41, known)
	mustPublish(t, broker.URL, broker.Cluster, channel, 0, first...)

	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	group.Go(func() { b.probe(ctx) })
	serves := func(r *replica) {
		t.Helper()
		testservers.Eventually(t, "the replica serves all orders", func() bool {
			code, _ := get(t, r.url+"/api/v1/orders/"+uids[len(uids)-1], "")
			return r.in.Load() && code == http.StatusOK
		})
	}
	for _, r := range b.replicas {
		serves(r)
	}
	more, _ := generated(42, messages)
	group.Go(func() { mustPublish(t, broker.URL, broker.Cluster, channel, 700, more...) })
	var looking sync.WaitGroup
	pace := rate.NewLimiter(lookupsPerSecond, 1)
	for range 4 {
		looking.Go(func() {
			for pace.Wait(ctx) == nil {
				if err := b.lookUp(ctx, uids[rand.IntN(len(uids))]); err != nil && ctx.Err() == nil {
					t.Errorf("a lookup failed: %v", err)
					return
				}
			}
		})
	}
	for i, r := range b.replicas {
		programs[i].mustTerminate(syscall.SIGTERM)
		programs[i] = start(i, strings.TrimPrefix(r.url, "http://"))
		testservers.Eventually(t, "the replica is ready again", r.in.Load)
	}
	pool := testservers.Open(t, db.ServiceURL, 1)
	testservers.Eventually(t, "everything is projected", func() bool {
		s, err := verify.Stats(t.Context(), pool)
		return err == nil && s.Received == known+messages && s.Pending == 0
	})
	cancel()
	looking.Wait()
	t.Logf("%d lookups answered in %d restarts", b.answered.Load(), len(b.replicas))
	if r := mustCheck(t, db.ServiceURL); r.Gaps != 0 {
		t.Errorf("gaps %+v", r.GapRanges)
	}
}

// Whatever the service waits for, it stops when it is told to.
func TestStoppingWaitsForNobody(t *testing.T) {
	t.Parallel()
	postgres, broker := testservers.OwnPostgres(t), testservers.OwnBroker(t)
	db := postgres.Database()
	env, address := replicaEnv(db, broker.STAN, "orders", "orderbox"), freeAddress(t)
	start := func() *program { return mustProgram(t, env, "serve", "--listen", address) }
	ready := func() bool { return askReady(t.Context(), "http://"+address) == nil }
	payloads, _ := generated(51, 3000)

	p := start()
	testservers.Eventually(t, "it is ready", ready)
	mustPublish(t, broker.URL, broker.Cluster, "orders", 0, payloads...)
	if code, _, errs := runOrderbox(t.Context(), "replay", "--data", t.TempDir(), "--detach", "--database-url", db.ServiceURL); code != 0 {
		t.Fatalf("replay: %s", errs)
	}
	p.mustTerminate(syscall.SIGTERM) // while it replays

	p = start()
	testservers.Eventually(t, "it is ready", ready)
	postgres.Pause()
	testservers.Eventually(t, "it notices that the database hangs", func() bool { return !ready() })
	p.mustTerminate(syscall.SIGTERM) // with queries that are never answered
	postgres.Resume()

	p = start()
	testservers.Eventually(t, "it is ready", ready)
	postgres.Crash()
	mustPublish(t, broker.URL, broker.Cluster, "orders", 0, payloads...)
	p.mustTerminate(syscall.SIGTERM) // with messages in hand and nowhere to put them

	p = start()
	testservers.Eventually(t, "it waits for the database", func() bool { return strings.Contains(p.log.String(), "connect to the database") })
	p.mustTerminate(syscall.SIGTERM) // before there is anything to stop

	postgres.Start()
	broker.Stop()
	p = start()
	testservers.Eventually(t, "it waits for the broker", func() bool { return strings.Contains(p.log.String(), "doing=receive") })
	p.mustTerminate(syscall.SIGTERM)

	broker.Start()
	p = start()
	pool := testservers.Open(t, db.ServiceURL, 1)
	testservers.Eventually(t, "everything came in after all", func() bool {
		s, err := verify.Stats(t.Context(), pool)
		return err == nil && s.Received == int64(2*len(payloads)) && s.Pending == 0
	})
	p.mustTerminate(os.Interrupt)
	mustCheck(t, db.ServiceURL)
}

func TestUpStopsUnderLoad(t *testing.T) {
	t.Parallel()
	dir := testservers.Dir(t)
	_, port, _ := strings.Cut(freeAddress(t), ":")
	args := []string{"up", "--data", dir, "--listen", "127.0.0.1:0", "--nats-port", port, "--empty"}
	p := mustProgram(t, nil, args...)
	env := mustEnv(t, dir)
	payloads, _ := generated(61, 10_000)
	received := func() float64 {
		_, body := get(t, env["ORDERBOX_URL"]+"/api/v1/stats", "")
		var s struct{ Received, Pending float64 }
		if json.Unmarshal([]byte(body), &s) != nil || s.Pending > 0 && s.Received == float64(len(payloads)) {
			return 0
		}
		return s.Received
	}
	var publishing sync.WaitGroup
	defer publishing.Wait()
	publishing.Go(func() {
		mustPublish(t, env["ORDERBOX_NATS_URL"], env["ORDERBOX_STAN_CLUSTER"], env["ORDERBOX_CHANNEL"], 0, payloads...)
	})
	testservers.Eventually(t, "messages come in", func() bool { return received() > 1000 })
	p.mustTerminate(os.Interrupt)

	p = mustProgram(t, nil, args...)
	testservers.Eventually(t, "up writes its file anew", func() bool {
		again, err := envfile.Read(filepath.Join(dir, "env"))
		if err != nil || again["ORDERBOX_URL"] == env["ORDERBOX_URL"] || again["ORDERBOX_URL"] == "" {
			return false
		}
		env = again
		return true
	})
	publishing.Wait()
	testservers.Eventually(t, "everything is projected", func() bool { return received() >= float64(len(payloads)) })
	if r := mustCheck(t, env["ORDERBOX_DATABASE_URL"]); r.Gaps != 0 {
		t.Errorf("gaps %+v", r.GapRanges)
	}
	p.mustTerminate(os.Interrupt)
}

// Somebody who follows the events is let go, and does not come to be thrown out when the patience for the rest has ended.
func TestWhoFollowsTheEventsHoldsUpNoStop(t *testing.T) {
	t.Parallel()
	p, address := mustServe(t, testservers.Database(t), testservers.Broker(t), testservers.Channel(t))
	answer, err := http.Get("http://" + address + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	events := bufio.NewReader(answer.Body)
	if line, err := events.ReadString('\n'); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%d, %q, %v", answer.StatusCode, line, err)
	}
	p.mustTerminate(syscall.SIGTERM)
	if _, err := io.Copy(io.Discard, events); err != nil {
		t.Errorf("the stream was cut off: %v", err) // as whatever is still there after shutdownTimeout is
	}
}
