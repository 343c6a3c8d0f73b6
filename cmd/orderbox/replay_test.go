package main

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/time/rate"

	"orderbox/internal/testservers"
	"orderbox/internal/verify"
	"orderbox/publisher"
	"orderbox/query"
	"orderbox/sql"
)

// everyOrder reads all orders through the list, newest first.
func everyOrder(tb testing.TB, url string) map[string]string {
	tb.Helper()
	orders := map[string]string{}
	for after := ""; ; {
		code, body := get(tb, url+"/api/v1/orders?limit=100"+after, "")
		if code != http.StatusOK {
			tb.Fatalf("list of orders: %d", code)
		}
		var page struct {
			Orders []json.RawMessage
			Next   *string
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			tb.Fatal(err)
		}
		for _, o := range page.Orders {
			var id struct {
				UID string `json:"order_uid"`
			}
			if err := json.Unmarshal(o, &id); err != nil {
				tb.Fatal(err)
			}
			orders[id.UID] = string(o)
		}
		if page.Next == nil {
			return orders
		}
		after = "&after=" + *page.Next
	}
}

// mustFill publishes made-up messages and waits until all of them are decided and served.
func mustFill(tb testing.TB, env map[string]string, seed uint64, messages int) {
	tb.Helper()
	var payloads [][]byte
	for m := range publisher.Messages(seed, messages, 0.2) {
		payloads = append(payloads, m.Payload)
	}
	before := stats(tb, env).Received
	mustPublish(tb, env["ORDERBOX_NATS_URL"], env["ORDERBOX_STAN_CLUSTER"], env["ORDERBOX_CHANNEL"], 0, payloads...)
	testservers.Eventually(tb, "all messages are decided", func() bool {
		b := stats(tb, env)
		return b.Received == before+int64(messages) && b.Pending == 0
	})
	orders := float64(stats(tb, env).Orders)
	testservers.Eventually(tb, "all orders are in the cache", func() bool {
		return mustMeasure(tb, env["ORDERBOX_URL"], "orderbox_cache_orders") == orders
	})
}

func stats(tb testing.TB, env map[string]string) verify.Balance {
	tb.Helper()
	pool, err := sql.Open(tb.Context(), env["ORDERBOX_DATABASE_URL"], "test", 1)
	if err != nil {
		tb.Fatal(err)
	}
	defer pool.Close()
	b, err := verify.Stats(tb.Context(), pool)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// lookupsPerSecond is how often clients ask that look for a lookup that fails: often enough to meet every moment of
// what happens meanwhile, and not so often that it is the clients that keep it from happening.
const lookupsPerSecond = 400

// Whoever looks orders up during a replay gets every one of them, whole, at any moment; what is published
// meanwhile appears; and afterwards everything is as it was.
func TestNobodyNoticesAReplay(t *testing.T) {
	t.Parallel()
	dir := testservers.Dir(t)
	p := mustProgram(t, nil, "up", "--data", dir, "--listen", "127.0.0.1:0", "--empty")
	env := mustEnv(t, dir)
	mustFill(t, env, 31, 800)
	url := env["ORDERBOX_URL"]
	testservers.Eventually(t, "the service is ready", func() bool { return askReady(t.Context(), url) == nil })
	before := everyOrder(t, url)
	uids := make([]string, 0, len(before))
	for uid := range before {
		uids = append(uids, uid)
	}

	var asking sync.WaitGroup
	var done atomic.Bool
	var asked atomic.Int64
	pace := rate.NewLimiter(lookupsPerSecond, 1)
	for range 4 {
		asking.Go(func() {
			for !done.Load() && pace.Wait(t.Context()) == nil {
				uid := uids[rand.IntN(len(uids))]
				if code, body := get(t, url+"/api/v1/orders/"+uid, ""); code != http.StatusOK || body != before[uid] {
					t.Errorf("order %s during the replay: %d %s", uid, code, body)
					return
				}
				asked.Add(1)
			}
		})
	}
	for round := range uint64(2) {
		if code, out, errs := runOrderbox(t.Context(), "replay", "--data", dir); code != 0 || !strings.Contains(out, "is in service") {
			t.Errorf("replay: exit code %d\n%s%s", code, out, errs)
		}
		mustFill(t, env, 32+round, 500)
	}
	if code, out, errs := runOrderbox(t.Context(), "replay", "--rollback", "--data", dir); code != 0 {
		t.Errorf("rollback: exit code %d\n%s%s", code, out, errs)
	}
	done.Store(true)
	asking.Wait()
	if asked.Load() == 0 {
		t.Error("nobody asked")
	}
	after := everyOrder(t, url)
	for uid, body := range before {
		if after[uid] != body {
			t.Fatalf("order %s was\n%s\nand is\n%s", uid, body, after[uid])
		}
	}
	mustCheck(t, env["ORDERBOX_DATABASE_URL"])
	p.mustStop()
}

// Four times a replay is cut off by kill -9, of everything or of PostgreSQL alone: one whole generation is in
// service each time, and in the end the replay is done.
func TestAReplayOutlivesKillNine(t *testing.T) {
	t.Parallel()
	const kills = 4
	dir := testservers.Dir(t)
	args := []string{"up", "--data", dir, "--listen", "127.0.0.1:0", "--empty"}
	p := mustProgram(t, nil, args...)
	env := mustEnv(t, dir)
	mustFill(t, env, 41, 2_000)
	testservers.Eventually(t, "the service is ready", func() bool { return askReady(t.Context(), env["ORDERBOX_URL"]) == nil })
	before, balance := everyOrder(t, env["ORDERBOX_URL"]), stats(t, env)

	for n := range kills {
		if code, out, errs := runOrderbox(t.Context(), "replay", "--detach", "--data", dir); code != 0 {
			t.Fatalf("replay: exit code %d\n%s%s", code, out, errs)
		}
		// Somewhere in the tables, the cache or the switch.
		for range rand.IntN(40) {
			get(t, env["ORDERBOX_URL"]+"/api/v1/stats", "")
		}
		if n%2 == 0 {
			p.kill()
		} else {
			mustKillPostgres(t, dir)
			p.cmd.Wait() // what runs beside it ends with it
		}
		if err := os.Remove(filepath.Join(dir, "env")); err != nil { // it names the old ports
			t.Fatal(err)
		}
		p = mustProgram(t, nil, args...)
		env = mustEnv(t, dir)
		testservers.Eventually(t, "the service is ready", func() bool { return askReady(t.Context(), env["ORDERBOX_URL"]) == nil })
		if after := everyOrder(t, env["ORDERBOX_URL"]); !maps.Equal(after, before) {
			t.Fatalf("%d orders after kill %d, want the %d that were there", len(after), n, len(before))
		}
		mustCheck(t, env["ORDERBOX_DATABASE_URL"])
	}
	if code, out, errs := runOrderbox(t.Context(), "replay", "--data", dir); code != 0 {
		t.Errorf("replay: exit code %d\n%s%s", code, out, errs)
	}
	if now := stats(t, env); now != balance {
		t.Errorf("the balance is %+v and was %+v", now, balance)
	}
	p.mustStop()
}

func mustKillPostgres(tb testing.TB, dir string) {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "data", "postmaster.pid"))
	if err != nil || len(files) != 1 {
		tb.Fatalf("looking for postmaster.pid: %v, %v", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		tb.Fatal(err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		tb.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		tb.Fatal(err)
	}
}

// The 99th percentile of the time that a client waits for random orders, which it asks for all the time, with
// and without replays one after the other; the limit is that without. A client of its own process would be
// the fairer one; this one shares the cores with the service as well.
func BenchmarkLookupsDuringReplay(b *testing.B) {
	dir := testservers.Dir(b)
	mustProgram(b, nil, "up", "--data", dir, "--listen", "127.0.0.1:0", "--empty", "--log-level", "warn")
	env := mustEnv(b, dir)
	messages := 20_000
	if testing.Short() { // to show that it works
		messages = 2_000
	}
	mustFill(b, env, 51, messages)
	url := env["ORDERBOX_URL"]
	pool, err := sql.Open(b.Context(), env["ORDERBOX_DATABASE_URL"], "bench", 1)
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	testservers.Eventually(b, "the service is ready", func() bool { return askReady(b.Context(), url) == nil })
	var uids []string
	for uid := range everyOrder(b, url) {
		uids = append(uids, uid)
	}
	// ask looks orders up until done, for a second at least.
	ask := func(done <-chan struct{}) (took []time.Duration) {
		for begun := time.Now(); ; {
			select {
			case <-done:
				if time.Since(begun) > time.Second {
					return took
				}
			default:
			}
			uid := uids[rand.IntN(len(uids))]
			asked := time.Now()
			if code, body := get(b, url+"/api/v1/orders/"+uid, ""); code != http.StatusOK {
				b.Fatalf("order %s: %d %s", uid, code, body)
			}
			took = append(took, time.Since(asked))
		}
	}
	p99 := func(took []time.Duration) time.Duration {
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	var idle, busy []time.Duration
	for b.Loop() {
		idle = append(idle, ask(closed())...)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if code, out, errs := runOrderbox(b.Context(), "replay", "--detach", "--data", dir); code != 0 {
				b.Errorf("replay: exit code %d\n%s%s", code, out, errs)
			}
			mustTakeOver(b, pool)
		}()
		busy = append(busy, ask(done)...)
	}
	b.ReportMetric(float64(p99(idle).Microseconds()), "p99-idle-µs")
	b.ReportMetric(float64(p99(busy).Microseconds()), "p99-replay-µs")
	b.ReportMetric(float64(p99(busy))/float64(p99(idle)), "times")
}

// mustTakeOver waits until no generation is being built, and asks too seldom to be felt.
func mustTakeOver(tb testing.TB, pool *pgxpool.Pool) {
	tb.Helper()
	ticks := time.NewTicker(200 * time.Millisecond)
	defer ticks.Stop()
	for building := true; building; <-ticks.C {
		if err := pool.QueryRow(tb.Context(), `select exists (select from generations where state = 'building')`).Scan(&building); err != nil {
			tb.Error(err)
			return
		}
	}
}

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func TestReportsAreJSONForPrograms(t *testing.T) {
	t.Parallel()
	dir := testservers.Dir(t)
	mustProgram(t, nil, "up", "--empty", "--data", dir, "--listen", "127.0.0.1:0")
	env := mustEnv(t, dir)
	mustPublish(t, env["ORDERBOX_NATS_URL"], env["ORDERBOX_STAN_CLUSTER"], env["ORDERBOX_CHANNEL"], 0, publisher.Model, []byte("rubbish"))
	testservers.Eventually(t, "all are decided", func() bool { b := stats(t, env); return b.Orders == 1 && b.DeadLetters == 1 })
	ask := func(into any, args ...string) {
		t.Helper()
		out, _ := mustRun(t, 0, append(args, "--json", "--data", dir)...)
		if err := json.Unmarshal([]byte(out), into); err != nil {
			t.Errorf("%q: %v in %s", args, err, out)
		}
	}
	var done replayed
	if ask(&done, "replay"); done.InService == "" || done.Position == 0 || done.Change == nil || !done.Change.Same() {
		t.Errorf("a replay: %+v", done)
	}
	var would query.Wave
	if ask(&would, "replay", "--dead-letters", "--dry-run"); would != (query.Wave{Refused: 1}) {
		t.Errorf("dead letters alone: %+v", would)
	}
	var deep struct{ Deep *deepReport }
	if ask(&deep, "verify", "--deep"); deep.Deep == nil || deep.Deep.Served == nil || deep.Deep.Served.Compared != 1 || !deep.Deep.sound() {
		t.Errorf("verify: %+v", deep)
	}
}
