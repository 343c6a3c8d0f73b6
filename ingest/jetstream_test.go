package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"orderbox/inbox"
	"orderbox/internal/stream"
	"orderbox/internal/testservers"
)

// jetOptions are for the stream ORDERS. The server delivers nothing again by itself while a test runs.
func jetOptions(broker *testservers.OwnedBroker) Options {
	return Options{URL: broker.URL, Stream: "ORDERS", Channel: "orders", ClientID: "test", Batch: 50, AckWait: time.Hour}
}

// mustConnect connects to the stream ORDERS, which it makes where there is none.
func mustConnect(tb testing.TB, broker *testservers.OwnedBroker) (js jetstream.JetStream, s jetstream.Stream) {
	tb.Helper()
	o := jetOptions(broker).stream()
	testservers.Eventually(tb, "the stream is there", func() bool {
		conn, found, err := stream.Connect(o, func(error) {})
		if err != nil {
			return false
		}
		tb.Cleanup(conn.Close)
		js = found
		s, err = stream.Open(tb.Context(), conn, js, o)
		return err == nil
	})
	return js, s
}

func mustStream(tb testing.TB, broker *testservers.OwnedBroker, payloads ...string) {
	tb.Helper()
	js, _ := mustConnect(tb, broker)
	for _, p := range payloads {
		if _, err := js.Publish(tb.Context(), "orders", []byte(p)); err != nil {
			tb.Fatal(err)
		}
	}
}

// mustHoldInOrder fails the test unless the log comes to hold exactly these payloads in their order.
func mustHoldInOrder(tb testing.TB, pool *pgxpool.Pool, want []string) {
	tb.Helper()
	mustHold(tb, pool, want)
	entries, err := inbox.New(pool, nil).Read(tb.Context(), 0, 1<<20, 1<<30)
	if err != nil {
		tb.Fatal(err)
	}
	for i, e := range entries {
		if string(e.Payload) != want[i] {
			tb.Fatalf("entry %d is %q, want %q", i, e.Payload, want[i])
		}
	}
}

// jetAcks counts the acknowledgements that anybody sends.
func jetAcks(tb testing.TB, broker *testservers.OwnedBroker) *atomic.Int64 {
	tb.Helper()
	var n atomic.Int64
	nc, err := nats.Connect(broker.URL)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	if _, err := nc.Subscribe("$JS.ACK.>", func(*nats.Msg) { n.Add(1) }); err != nil {
		tb.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		tb.Fatal(err)
	}
	return &n
}

// mustBlockAppends keeps everything from being committed until the test lets it.
func mustBlockAppends(tb testing.TB, admin *pgxpool.Pool) (release func()) {
	tb.Helper()
	lock, err := admin.Begin(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { lock.Rollback(context.Background()) })
	if _, err := lock.Exec(tb.Context(), `lock table inbox in exclusive mode`); err != nil {
		tb.Fatal(err)
	}
	return func() {
		if err := lock.Rollback(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
}

func TestAStreamIsAcknowledgedOnlyAfterCommit(t *testing.T) {
	t.Parallel()
	db, broker := testservers.Database(t), testservers.OwnBroker(t)
	pool, admin := testservers.Open(t, db.ServiceURL, 4), testservers.Open(t, db.AdminURL, 2)
	acked := jetAcks(t, broker)
	release := mustBlockAppends(t, admin)
	g, _ := mustRun(t, pool, jetOptions(broker))
	mustStream(t, broker, numbered(1, 200)...)
	testservers.Eventually(t, "all is received that there is room for", func() bool { return testutil.ToFloat64(g.metrics.received) == 200 })
	if n := acked.Load(); n != 0 {
		t.Errorf("%d acknowledgements before anything was committed", n)
	}
	release()
	mustHoldInOrder(t, pool, numbered(1, 200))
	testservers.Eventually(t, "everything is acknowledged", func() bool { return acked.Load() == 200 })
	if r := mustCheck(t, pool); r.Gaps != 0 {
		t.Errorf("%d gaps", r.Gaps)
	}
}

func TestStoppingKeepsTheConsumer(t *testing.T) {
	t.Parallel()
	pool, broker := testservers.Open(t, testservers.Database(t).ServiceURL, 4), testservers.OwnBroker(t)
	_, stop := mustRun(t, pool, jetOptions(broker))
	mustStream(t, broker, numbered(1, 30)...)
	mustHold(t, pool, numbered(1, 30))
	stop()
	mustStream(t, broker, numbered(31, 40)...)
	g, _ := mustRun(t, pool, jetOptions(broker))
	mustHoldInOrder(t, pool, numbered(1, 40))
	if n := testutil.ToFloat64(g.metrics.received); n != 10 {
		t.Errorf("%v deliveries after the stop, want the 10 that came meanwhile and no more", n)
	}
}

func TestNothingOfAStreamIsLostWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	postgres, broker := testservers.OwnPostgres(t), testservers.OwnBroker(t)
	pool := testservers.Open(t, postgres.Database().ServiceURL, 4)
	o := jetOptions(broker)
	o.AckWait = time.Second // what is in hand is delivered again and again
	mustRun(t, pool, o)
	mustStream(t, broker, numbered(1, 100)...)
	postgres.Crash()
	mustStream(t, broker, numbered(101, 400)...)
	postgres.Start()
	mustStream(t, broker, numbered(401, 420)...)
	mustHold(t, pool, numbered(1, 420))
}

func TestTheSessionWithAStreamIsRebuilt(t *testing.T) {
	t.Parallel()
	forget := func(tb testing.TB, delete func(jetstream.JetStream, jetstream.Stream) error, b *testservers.OwnedBroker) {
		tb.Helper()
		js, s := mustConnect(tb, b)
		if err := delete(js, s); err != nil {
			tb.Fatal(err)
		}
	}
	for name, lose := range map[string]func(testing.TB, *testservers.OwnedBroker){
		"when the server restarts":       func(_ testing.TB, b *testservers.OwnedBroker) { b.Stop(); b.Start() },
		"when the server lost its store": func(_ testing.TB, b *testservers.OwnedBroker) { b.Wipe() },
		"when the stream was deleted": func(tb testing.TB, b *testservers.OwnedBroker) {
			forget(tb, func(js jetstream.JetStream, _ jetstream.Stream) error { return js.DeleteStream(tb.Context(), "ORDERS") }, b)
		},
		"when the consumer was deleted": func(tb testing.TB, b *testservers.OwnedBroker) {
			forget(tb, func(_ jetstream.JetStream, s jetstream.Stream) error { return s.DeleteConsumer(tb.Context(), group) }, b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, broker := testservers.Open(t, testservers.Database(t).ServiceURL, 4), testservers.OwnBroker(t)
			o, told := jetOptions(broker), new(testservers.Buffer)
			o.Log = slog.New(slog.NewTextHandler(told, nil))
			mustRun(t, pool, o)
			mustStream(t, broker, numbered(1, 50)...)
			mustHold(t, pool, numbered(1, 50))
			lose(t, broker)
			mustStream(t, broker, numbered(51, 80)...)
			mustHoldInOrder(t, pool, numbered(1, 80))
			anew := strings.Contains(name, "store") || strings.Contains(name, "stream")
			if strings.Contains(told.String(), "another one by the same name") != anew {
				t.Errorf("that the stream is another one is to be told: %v", anew)
			}
			if r := mustCheck(t, pool); r.Gaps != 0 {
				t.Errorf("gaps %v in epochs %+v", r.GapRanges, r.Epochs)
			}
		})
	}
}

// The server has given messages to somebody who is gone, and knows nothing of that. They are older than what it has not
// given to anybody, and come first.
func TestWhatADeadReplicaHadInHandComesFirst(t *testing.T) {
	t.Parallel()
	for _, keep := range []jetstream.RetentionPolicy{jetstream.LimitsPolicy, jetstream.WorkQueuePolicy} {
		t.Run(keep.String(), func(t *testing.T) { t.Parallel(); deadReplica(t, keep) })
	}
}

func deadReplica(t *testing.T, keep jetstream.RetentionPolicy) {
	pool, broker := testservers.Open(t, testservers.Database(t).ServiceURL, 4), testservers.OwnBroker(t)
	js, _ := mustConnect(t, broker)
	err := js.DeleteStream(t.Context(), "ORDERS")
	if err == nil {
		_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders"}, Retention: keep})
	}
	if err != nil {
		t.Fatal(err)
	}
	_, stop := mustRun(t, pool, jetOptions(broker))
	mustStream(t, broker, numbered(1, 10)...)
	mustHold(t, pool, numbered(1, 10))
	stop()
	_, s := mustConnect(t, broker)
	dead, err := s.Consumer(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	mustStream(t, broker, numbered(11, 200)...)
	batch, err := dead.Fetch(120)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for msg := range batch.Messages() {
		if n++; n%3 == 0 { // and acknowledged some out of their order
			continue
		}
		if n == 100 {
			if err := msg.Nak(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n != 120 {
		t.Fatalf("%d messages were given away: %v", n, batch.Error())
	}
	mustRun(t, pool, jetOptions(broker))
	mustHoldInOrder(t, pool, numbered(1, 200))
}

func TestReplicasShareAStreamAndLoseNothing(t *testing.T) {
	t.Parallel()
	pool, broker := testservers.Open(t, testservers.Database(t).ServiceURL, 4), testservers.OwnBroker(t)
	var replicas [3]*Ingester
	for i := range replicas {
		o := jetOptions(broker)
		o.ClientID = fmt.Sprint("replica-", i)
		replicas[i], _ = mustRun(t, pool, o)
		testservers.Eventually(t, "a session", replicas[i].Connected)
	}
	mustStream(t, broker, numbered(1, 300)...)
	mustHold(t, pool, numbered(1, 300))
	for i, g := range replicas {
		if n := testutil.ToFloat64(g.metrics.received); n == 0 || n == 300 {
			t.Errorf("replica %d received %v of 300", i, n)
		}
	}
}

func TestWhatARestoredDatabaseLacksOfAStreamIsFetchedAgain(t *testing.T) {
	t.Parallel()
	db, broker := testservers.Database(t), testservers.OwnBroker(t)
	pool, admin := testservers.Open(t, db.ServiceURL, 4), testservers.Open(t, db.AdminURL, 1)
	_, stop := mustRun(t, pool, jetOptions(broker))
	mustStream(t, broker, numbered(1, 300)...)
	mustHold(t, pool, numbered(1, 300))
	stop()
	mustForget(t, admin, `sequence > 200 or sequence between 41 and 60 or sequence = 1`)
	g := mustMake(t, pool, jetOptions(broker))
	g.audit.settle = time.Second
	mustRunIt(t, g)
	mustHold(t, pool, numbered(1, 300))
	testservers.Eventually(t, "it is counted", func() bool { return testutil.ToFloat64(g.metrics.recovered) == 121 })
}

// A pull is as large as the server pleases. What does not fit waits where it was pulled to.
func TestWhatOfAStreamHasNoRoomWaits(t *testing.T) {
	t.Parallel()
	const messages, fit = 300, 40
	pool, broker := testservers.Open(t, testservers.Database(t).ServiceURL, 4), testservers.OwnBroker(t)
	mustStream(t, broker, numbered(1000, 999+messages)...)
	g := mustMake(t, pool, jetOptions(broker))
	g.hand.maxBytes = fit * len("1000")
	mustRunIt(t, g)
	mustHoldInOrder(t, pool, numbered(1000, 999+messages))
	if n := testutil.ToFloat64(g.metrics.received); n != messages {
		t.Errorf("%v deliveries, want each of %d once", n, messages)
	}
}

// Other replicas would wait for them as long as AckWait.
func TestWhatWasPulledAndNotTakenIsGivenBackAtTheEnd(t *testing.T) {
	t.Parallel()
	const messages, fit = 300, 40
	db, broker := testservers.Database(t), testservers.OwnBroker(t)
	pool, admin := testservers.Open(t, db.ServiceURL, 4), testservers.Open(t, db.AdminURL, 2)
	release := mustBlockAppends(t, admin)
	g := mustMake(t, pool, jetOptions(broker))
	g.hand.maxMessages = fit
	stop := mustRunIt(t, g)
	mustStream(t, broker, numbered(1, messages)...)
	testservers.Eventually(t, "the hand is full", func() bool { n, _ := g.hand.size(); return n == fit })
	_, s := mustConnect(t, broker)
	testservers.Eventually(t, "more was pulled", func() bool {
		consumer, err := s.Consumer(t.Context(), group)
		return err == nil && consumer.CachedInfo().NumAckPending > fit
	})
	stop()
	release()
	dead, err := s.Consumer(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	batch, err := dead.Fetch(messages, jetstream.FetchMaxWait(3*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for msg := range batch.Messages() {
		got = append(got, string(msg.Data()))
	}
	slices.Sort(got)
	want := numbered(fit+1, messages)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("another replica is given %d messages at once, want the %d that were not taken", len(got), len(want))
	}
}

// More holes than an audit asks for at once are what the stream itself deleted, and behind them is one that it has.
func TestHolesOfTheStreamHideNoneOfTheLog(t *testing.T) {
	t.Parallel()
	const deleted, messages = maxSpans + 10, 2*maxSpans + 100
	db, broker := testservers.Database(t), testservers.OwnBroker(t)
	pool, admin := testservers.Open(t, db.ServiceURL, 4), testservers.Open(t, db.AdminURL, 1)
	o := jetOptions(broker)
	o.AckWait = time.Second
	_, stop := mustRun(t, pool, o)
	mustStream(t, broker, numbered(1, messages)...)
	mustHold(t, pool, numbered(1, messages))
	stop()
	_, s := mustConnect(t, broker)
	for i := range uint64(deleted) {
		if err := s.DeleteMsg(t.Context(), 2*(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	mustForget(t, admin, fmt.Sprintf(`sequence = %d or sequence %% 2 = 0 and sequence <= %d`, messages-1, 2*deleted))
	mustRun(t, pool, o)
	testservers.Eventually(t, "what the stream has is fetched", func() bool {
		var there bool
		err := admin.QueryRow(t.Context(), `select exists (select from inbox where sequence = $1)`, messages-1).Scan(&there)
		return err == nil && there
	})
}
