package ingest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"
	"github.com/nats-io/stan.go/pb"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"orderbox/inbox"
	"orderbox/internal/stream"
	"orderbox/internal/testservers"
)

func TestMain(m *testing.M) { testservers.Main(m) }

// mustStart runs an ingester until the test ends or stop is called.
func mustStart(tb testing.TB, pool *pgxpool.Pool, broker testservers.STAN, channel string) (g *Ingester, stop func()) {
	tb.Helper()
	return mustRun(tb, pool, Options{URL: broker.URL, Cluster: broker.Cluster, Channel: channel,
		ClientID: "ingest-" + channel, Batch: 50, AckWait: 2 * time.Second})
}

func mustRun(tb testing.TB, pool *pgxpool.Pool, o Options) (g *Ingester, stop func()) {
	tb.Helper()
	g = mustMake(tb, pool, o)
	return g, mustRunIt(tb, g)
}

func mustMake(tb testing.TB, pool *pgxpool.Pool, o Options) *Ingester {
	tb.Helper()
	o.Log = cmp.Or(o.Log, slog.New(slog.NewTextHandler(tb.Output(), nil)))
	g, err := New(inbox.New(pool, nil), o)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func mustRunIt(tb testing.TB, g *Ingester) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := g.Run(ctx); err != nil {
			tb.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	tb.Cleanup(stop)
	return stop
}

var clients atomic.Int64

// mustPublish returns when the broker has confirmed every payload. It goes on trying while the broker is away.
func mustPublish(tb testing.TB, broker testservers.STAN, channel string, payloads ...string) {
	tb.Helper()
	var conn stan.Conn
	testservers.Eventually(tb, "connect to publish", func() (ok bool) {
		var err error
		conn, err = stan.Connect(broker.Cluster, fmt.Sprintf("test-%d-%d", time.Now().UnixNano(), clients.Add(1)), stan.NatsURL(broker.URL))
		return err == nil
	})
	defer conn.Close()
	for _, p := range payloads {
		if err := conn.Publish(channel, []byte(p)); err != nil {
			tb.Fatal(err)
		}
	}
}

func numbered(from, to int) (payloads []string) {
	for i := from; i <= to; i++ {
		payloads = append(payloads, fmt.Sprint(i))
	}
	return payloads
}

// mustHold fails the test unless the log comes to hold exactly these payloads, in any order.
func mustHold(tb testing.TB, pool *pgxpool.Pool, want []string) {
	tb.Helper()
	want = slices.Sorted(slices.Values(want))
	testservers.Eventually(tb, fmt.Sprintf("the log holds %d messages", len(want)), func() bool {
		entries, err := inbox.New(pool, nil).Read(tb.Context(), 0, 1<<20, 1<<30)
		var got []string
		for _, e := range entries {
			got = append(got, string(e.Payload))
		}
		slices.Sort(got)
		return err == nil && slices.Equal(got, want)
	})
}

// acks counts the acknowledgements that anybody sends for a channel, by listening to the whole of NATS.
func acks(tb testing.TB, broker testservers.STAN, channel string) *atomic.Int64 {
	tb.Helper()
	var n atomic.Int64
	nc, err := nats.Connect(broker.URL)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	_, err = nc.Subscribe(">", func(m *nats.Msg) {
		var ack pb.Ack
		if ack.Unmarshal(m.Data) == nil && ack.Subject == channel && ack.Sequence > 0 {
			n.Add(1)
		}
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		tb.Fatal(err)
	}
	return &n
}

func TestAckOnlyAfterCommit(t *testing.T) {
	t.Parallel()
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	pool, admin := testservers.Open(t, db.ServiceURL, 4), testservers.Open(t, db.AdminURL, 4)
	acked := acks(t, broker, channel)

	// Nothing can be committed to the inbox while this transaction is open.
	lock, err := admin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Rollback(context.Background())
	if _, err := lock.Exec(t.Context(), `lock table inbox in exclusive mode`); err != nil {
		t.Fatal(err)
	}
	g, _ := mustStart(t, pool, broker, channel)
	mustPublish(t, broker, channel, numbered(1, 20)...)
	testservers.Eventually(t, "everything is received", func() bool { return testutil.ToFloat64(g.metrics.received) >= 20 })
	waiting := func() (n int) {
		const waitingSQL = `select count(1) from pg_locks where not granted and relation = 'inbox'::regclass and database = (select oid from pg_database where datname = current_database())`
		if err := admin.QueryRow(t.Context(), waitingSQL).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	testservers.Eventually(t, "the append waits for the lock", func() bool { return waiting() > 0 })
	if n := acked.Load(); n != 0 {
		t.Errorf("%d acknowledgements before anything was committed", n)
	}
	if err := lock.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustHold(t, pool, numbered(1, 20))
	testservers.Eventually(t, "everything is acknowledged", func() bool { return acked.Load() >= 20 })
}

func TestStoppingKeepsTheDurable(t *testing.T) {
	t.Parallel()
	pool, broker, channel := testservers.Open(t, testservers.Database(t).ServiceURL, 4), testservers.Broker(t), testservers.Channel(t)
	_, stop := mustStart(t, pool, broker, channel)
	mustPublish(t, broker, channel, numbered(1, 30)...)
	mustHold(t, pool, numbered(1, 30))
	stop()
	mustPublish(t, broker, channel, numbered(31, 40)...)
	g, _ := mustStart(t, pool, broker, channel)
	mustHold(t, pool, numbered(1, 40))
	if n := testutil.ToFloat64(g.metrics.received); n != 10 {
		t.Errorf("%v deliveries after the stop, want the 10 that came meanwhile and no more", n)
	}
}

func TestNothingIsLostWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	postgres, broker, channel := testservers.OwnPostgres(t), testservers.Broker(t), testservers.Channel(t)
	pool := testservers.Open(t, postgres.Database().ServiceURL, 4)
	mustStart(t, pool, broker, channel)
	mustPublish(t, broker, channel, numbered(1, 100)...)
	postgres.Crash()
	mustPublish(t, broker, channel, numbered(101, 400)...)
	postgres.Start()
	mustPublish(t, broker, channel, numbered(401, 420)...)
	mustHold(t, pool, numbered(1, 420))
}

// However slow the database is, there is a portion of a batch that it takes in time.
func TestWhatIsTooMuchAtOnceIsCommittedInPortions(t *testing.T) {
	t.Parallel()
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	admin := testservers.Open(t, db.AdminURL, 1)
	name := pgx.Identifier{admin.Config().ConnConfig.Database}.Sanitize()
	for _, statement := range []string{
		`create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.03); return new; end $$`,
		`create trigger dawdle before insert on inbox for each row execute function dawdle()`,
		`alter role orderbox in database ` + name + ` set statement_timeout = '400ms'`, // 13 messages
	} {
		if _, err := admin.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	mustPublish(t, broker, channel, numbered(1, 100)...)
	pool := testservers.Open(t, db.ServiceURL, 4)
	mustStart(t, pool, broker, channel)
	mustHold(t, pool, numbered(1, 100))
}

func TestTheSessionIsRebuilt(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*testservers.OwnedBroker){
		"when the broker restarts":       func(b *testservers.OwnedBroker) { b.Stop(); b.Start() },
		"when the broker lost its store": (*testservers.OwnedBroker).Wipe,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, broker := testservers.Open(t, testservers.Database(t).ServiceURL, 4), testservers.OwnBroker(t)
			mustStart(t, pool, broker.STAN, "orders")
			mustPublish(t, broker.STAN, "orders", numbered(1, 50)...)
			mustHold(t, pool, numbered(1, 50))
			lose(broker)
			mustPublish(t, broker.STAN, "orders", numbered(51, 80)...)
			mustHold(t, pool, numbered(1, 80))
		})
	}
}

// A broker that comes back within the time that pings allow may know the client and have forgotten its
// subscription; so a lost connection must end the session, however short it was.
func TestALostConnectionEndsTheSession(t *testing.T) {
	t.Parallel()
	broker := testservers.OwnBroker(t)
	g, err := New(nil, Options{URL: broker.URL, Cluster: broker.Cluster, Channel: "orders", ClientID: "lost"})
	if err != nil {
		t.Fatal(err)
	}
	lost, lose := stream.Lost()
	session, err := g.connect(t.Context(), lose)
	if err != nil {
		t.Fatal(err)
	}
	defer session.close()
	broker.Stop()
	broker.Start()
	testservers.Eventually(t, "the session is lost", func() bool { return len(lost) == 1 })
}

func TestReplicasShareTheLoadAndLoseNothing(t *testing.T) {
	t.Parallel()
	pool, broker, channel := testservers.Open(t, testservers.Database(t).ServiceURL, 4), testservers.Broker(t), testservers.Channel(t)
	var group sync.WaitGroup
	var received [3]float64
	ctx, cancel := context.WithCancel(t.Context())
	for i := range received {
		g, err := New(inbox.New(pool, nil), Options{URL: broker.URL, Cluster: broker.Cluster, Channel: channel,
			ClientID: fmt.Sprintf("replica-%s-%d", channel, i), Batch: 10})
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			if err := g.Run(ctx); err != nil {
				t.Error(err)
			}
			received[i] = testutil.ToFloat64(g.metrics.received)
		})
		testservers.Eventually(t, "a session", g.Connected)
	}
	mustPublish(t, broker, channel, numbered(1, 300)...)
	mustHold(t, pool, numbered(1, 300))
	cancel()
	group.Wait()
	for i, n := range received {
		if n == 0 || n == 300 {
			t.Errorf("replica %d received %v of 300", i, n)
		}
	}
}

// AckWait is longer than the test may take: what had no room must come without waiting for it.
func TestWhatHadNoRoomIsDeliveredAgainAtOnce(t *testing.T) {
	t.Parallel()
	const messages, fit = 300, 40
	pool := testservers.Open(t, testservers.Database(t).ServiceURL, 4)
	broker, channel := testservers.Broker(t), testservers.Channel(t)
	mustPublish(t, broker, channel, numbered(1000, 999+messages)...)
	g := mustMake(t, pool, Options{URL: broker.URL, Cluster: broker.Cluster, Channel: channel, ClientID: "room-" + channel,
		Batch: messages, AckWait: time.Hour})
	g.hand.maxBytes = fit * len("1000")
	mustRunIt(t, g)
	mustHold(t, pool, numbered(1000, 999+messages))
	if dropped := testutil.ToFloat64(g.metrics.dropped); dropped == 0 {
		t.Error("everything had room: nothing was tested")
	}
}

func TestTheHandIsBounded(t *testing.T) {
	h := newHand(3, 100)
	msg := func(sequence uint64, size int) *delivery {
		return &delivery{identity: identity{"orders", sequence, int64(sequence)}, payload: make([]byte, size), ack: &stan.Msg{}}
	}
	if !h.put(msg(1, 200)) {
		t.Error("a message larger than the bound must pass alone")
	}
	if h.put(msg(2, 10)) {
		t.Error("a message beyond the bytes is taken")
	}
	first := h.take(10, 10)
	if len(first) != 1 {
		t.Fatalf("%d taken", len(first))
	}
	again := msg(1, 200)
	if !h.put(again) || len(h.take(10, 10)) != 0 {
		t.Error("a redelivery of what is being committed must neither be refused nor be committed twice")
	}
	if acks := h.release(first); len(acks) != 1 || acks[0] != again.ack {
		t.Error("the acknowledgement must go to the latest delivery")
	}
	if len(h.missed) != 1 {
		t.Error("the hand is empty again and does not say that it had no room before")
	}
	for i := range uint64(3) {
		if !h.put(msg(10+i, 10)) {
			t.Errorf("message %d of 3 refused", i+1)
		}
	}
	if h.put(msg(20, 10)) {
		t.Error("a fourth message is taken")
	}
	if n := len(h.take(10, 25)); n != 2 {
		t.Errorf("a batch of 25 bytes has %d messages of 10", n)
	}
	// A broker that lost its store counts anew while messages of before are still in hand.
	other := msg(11, 10)
	other.stamp++
	if h.put(other) {
		t.Error("a message of another epoch is taken for the one with its sequence")
	}
	h.close()
	if h.put(msg(30, 10)) || !h.put(msg(10, 10)) {
		t.Error("a closed hand takes nothing new, and still knows what it holds")
	}
}

func TestABrokersPasswordIsNotRepeated(t *testing.T) {
	_, err := New(nil, Options{URL: "nats://me:S3CRET@host:bad", Cluster: "c", Channel: "c", ClientID: "c"})
	if err == nil || strings.Contains(err.Error(), "S3CRET") {
		t.Errorf("a URL that cannot be parsed: %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := New(nil, Options{URL: "nats://u:secret@host:port", Channel: "orders", AckWait: 1500 * time.Millisecond})
	if err == nil {
		t.Fatal("an ingester without a broker")
	}
	for _, problem := range []string{"cluster", "client id", "URL cannot be parsed", "whole seconds"} {
		if !strings.Contains(err.Error(), problem) {
			t.Errorf("not told: %s: %v", problem, err)
		}
	}
	if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "channel") {
		t.Errorf("too much is told: %v", err)
	}
}

func TestNoMoreIsInFlightThanFitsTheHandOnceThereWereLargeMessages(t *testing.T) {
	g, err := New(nil, Options{URL: "nats://127.0.0.1:1", Cluster: "c", Channel: "c", ClientID: "c"})
	if err != nil {
		t.Fatal(err)
	}
	if n := g.inFlight(1 << 20); n != 4096 {
		t.Errorf("%d messages are in flight before there were large ones, want two batches", n)
	}
	g.large.Store(true)
	for maxPayload, want := range map[int64]int{1 << 10: 4096, 1 << 20: 256, 8 << 20: 128, 0: 4096} {
		if n := g.inFlight(maxPayload); n != want {
			t.Errorf("%d messages of up to %d bytes are in flight, want %d", n, maxPayload, want)
		}
	}
}
