package ingest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/stan.go"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"orderbox/inbox"
	"orderbox/internal/testservers"
	"orderbox/internal/verify"
)

// mustForget takes messages out of the log, as a database does that is restored from an older copy.
func mustForget(tb testing.TB, admin *pgxpool.Pool, where string) {
	tb.Helper()
	if _, err := admin.Exec(tb.Context(), `delete from inbox where `+where); err != nil {
		tb.Fatal(err)
	}
}

func mustCheck(tb testing.TB, pool *pgxpool.Pool) verify.Report {
	tb.Helper()
	r, err := verify.Check(tb.Context(), pool)
	if err != nil || len(r.Broken) > 0 {
		tb.Fatalf("%+v, %v", r.Broken, err)
	}
	return r
}

// The broker holds all of it for acknowledged, and nothing new comes that would show the hole at the end.
func TestWhatARestoredDatabaseLacksIsFetchedAgain(t *testing.T) {
	t.Parallel()
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	pool, admin := testservers.Open(t, db.ServiceURL, 4), testservers.Open(t, db.AdminURL, 1)
	_, stop := mustStart(t, pool, broker, channel)
	mustPublish(t, broker, channel, numbered(1, 300)...)
	mustHold(t, pool, numbered(1, 300))
	stop()
	mustForget(t, admin, `sequence > 200 or sequence between 41 and 60 or sequence = 1`)
	g, _ := mustStart(t, pool, broker, channel)
	mustHold(t, pool, numbered(1, 300))
	testservers.Eventually(t, "it is counted", func() bool { return testutil.ToFloat64(g.metrics.recovered) == 121 })
	if r := mustCheck(t, admin); r.Gaps != 0 || len(r.Epochs) != 1 {
		t.Errorf("gaps %v in epochs %+v", r.GapRanges, r.Epochs)
	}
	if n := testutil.ToFloat64(g.metrics.received); n != 0 {
		t.Errorf("%v deliveries to the durable subscription, which had been given everything", n)
	}
}

// Another server may be the primary then, a standby that lagged. Otherwise the log is left alone for long.
func TestTheLogIsComparedSoonAfterTheDatabaseWasAway(t *testing.T) {
	t.Parallel()
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	pool, admin := testservers.Open(t, db.ServiceURL, 4), testservers.Open(t, db.AdminURL, 1)
	g := mustMake(t, pool, Options{URL: broker.URL, Cluster: broker.Cluster, Channel: channel, ClientID: "ingest-" + channel,
		Batch: 50, AckWait: 2 * time.Second})
	g.audit.rest = maxAuditPause
	mustRunIt(t, g)
	testservers.Eventually(t, "it receives", g.Connected)
	mustPublish(t, broker, channel, numbered(1, 100)...)
	mustHold(t, pool, numbered(1, 100))
	mustForget(t, admin, `sequence > 50`)
	for _, may := range []string{`revoke insert on inbox from orderbox`, `grant insert on inbox to orderbox`} {
		if _, err := admin.Exec(t.Context(), may); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(may, "revoke") {
			mustPublish(t, broker, channel, "101")
			testservers.Eventually(t, "the append fails", func() bool { return g.portion.Of(2) == 1 })
		}
	}
	mustHold(t, pool, numbered(1, 101))
}

func TestWhatSomebodyElseWasGivenIsFetchedAgain(t *testing.T) {
	t.Parallel()
	pool, broker, channel := testservers.Open(t, testservers.Database(t).ServiceURL, 4), testservers.Broker(t), testservers.Channel(t)
	mustStart(t, pool, broker, channel)
	stranger, err := stan.Connect(broker.Cluster, "stranger-"+channel, stan.NatsURL(broker.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	stolen := make(chan struct{}, 1000)
	if _, err := stranger.QueueSubscribe(channel, group, func(*stan.Msg) { stolen <- struct{}{} }, stan.DurableName(group)); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, broker, channel, numbered(1, 100)...)
	if len(stolen) == 0 {
		t.Fatal("nothing was given to the stranger")
	}
	mustHold(t, pool, numbered(1, 100))
}

// The same sequences are in the log already, from before the broker lost its store.
func TestEpochsAreKeptApart(t *testing.T) {
	t.Parallel()
	db, broker := testservers.Database(t), testservers.OwnBroker(t)
	pool, admin := testservers.Open(t, db.ServiceURL, 4), testservers.Open(t, db.AdminURL, 1)
	_, stop := mustStart(t, pool, broker.STAN, "orders")
	mustPublish(t, broker.STAN, "orders", numbered(1, 50)...)
	mustHold(t, pool, numbered(1, 50))
	broker.Wipe()
	mustPublish(t, broker.STAN, "orders", numbered(51, 80)...)
	mustHold(t, pool, numbered(1, 80))
	stop()
	mustForget(t, admin, `position > 65`)
	mustStart(t, pool, broker.STAN, "orders")
	mustHold(t, pool, numbered(1, 80))
	r := mustCheck(t, admin)
	if len(r.Epochs) != 2 || r.Epochs[0].Received != 50 || r.Epochs[1].Received != 30 || r.Gaps != 0 {
		t.Errorf("epochs %+v, gaps %+v", r.Epochs, r.GapRanges)
	}
}

func TestWhatTheBrokerDroppedIsMissingAndNamed(t *testing.T) {
	t.Parallel()
	db, broker := testservers.Database(t), testservers.OwnBrokerKeeping(t, 50)
	pool, admin := testservers.Open(t, db.ServiceURL, 4), testservers.Open(t, db.AdminURL, 1)
	_, stop := mustStart(t, pool, broker.STAN, "orders")
	mustPublish(t, broker.STAN, "orders", numbered(1, 20)...)
	mustHold(t, pool, numbered(1, 20))
	stop()
	mustPublish(t, broker.STAN, "orders", numbered(21, 120)...)
	mustForget(t, admin, `sequence = 20`)
	mustStart(t, pool, broker.STAN, "orders")
	mustHold(t, pool, slices.Concat(numbered(1, 19), numbered(71, 120)))
	r := mustCheck(t, admin)
	if len(r.GapRanges) != 1 || r.GapRanges[0].From != 20 || r.GapRanges[0].To != 70 || r.Gaps != 51 {
		t.Errorf("%d missing: %+v; want 20 to 70", r.Gaps, r.GapRanges)
	}
}

// While the database is away everything unacknowledged comes again and again, and once more at once when the
// session is built anew. What is held is held once.
func TestRedeliveryStormsAreBounded(t *testing.T) {
	t.Parallel()
	const messages, size = 20_000, 1000
	const inFlight = 256
	postgres, broker := testservers.OwnPostgres(t), testservers.OwnBroker(t)
	pool := testservers.Open(t, postgres.Database().ServiceURL, 4)
	g, _ := mustRun(t, pool, Options{URL: broker.URL, Cluster: broker.Cluster, Channel: "orders", ClientID: "storm",
		Batch: inFlight / 2, AckWait: 2 * time.Second})
	testservers.Eventually(t, "a session", g.Connected)
	postgres.Crash()

	conn, err := stan.Connect(broker.Cluster, "publisher", stan.NatsURL(broker.URL))
	if err != nil {
		t.Fatal(err)
	}
	confirmed := make(chan error, messages)
	for i := range messages {
		payload := fmt.Sprintf("%d %s", i, strings.Repeat("x", size))
		if _, err := conn.PublishAsync("orders", []byte(payload[:size]), func(_ string, err error) { confirmed <- err }); err != nil {
			t.Fatal(err)
		}
	}
	for range messages {
		if err := <-confirmed; err != nil {
			t.Fatal(err)
		}
	}
	conn.Close()

	held := func() (n, bytes int) {
		g.hand.mu.Lock()
		defer g.hand.mu.Unlock()
		return len(g.hand.held), g.hand.bytes
	}
	storm := func(redelivered float64) {
		testservers.Eventually(t, fmt.Sprintf("%v redeliveries", redelivered), func() bool {
			if n, bytes := held(); n > inFlight || bytes > inFlight*size {
				t.Fatalf("%d messages in %d bytes are held", n, bytes)
			}
			return testutil.ToFloat64(g.metrics.redelivered) >= redelivered
		})
	}
	storm(10 * inFlight)
	broker.Stop()
	broker.Start()
	storm(20 * inFlight)
	if n, _ := held(); n != inFlight {
		t.Errorf("%d messages are held, want the %d that are in flight", n, inFlight)
	}
	postgres.Start()
	testservers.Eventually(t, "everything is in the log", func() bool {
		spans, err := inbox.New(pool, nil).Missing(t.Context(), inbox.SourceSTAN, "orders", 1, messages, time.Time{}, 1)
		return err == nil && len(spans) == 0
	})
	if r := mustCheck(t, pool); r.Received != messages || r.Gaps != 0 {
		t.Errorf("%d in the log, want each of %d once", r.Received, messages)
	}
}

// Ends the month before its next message, and has it projected, as far as detaching asks.
const endMonthSQL = `
do $$
declare
	month text := (select tableoid::regclass from inbox limit 1);
	since timestamptz := (select min(stamped_at) from inbox);
	until timestamptz := (select max(stamped_at) + interval '1 us' from inbox);
begin
	execute format('alter table inbox detach partition %I', month);
	execute format('alter table %I rename to ended', month);
	execute format('alter table inbox attach partition ended for values from (%L) to (%L)', since, until);
	create schema generation_1;
	create table generation_1.checkpoint as select 1000000 as position;
	insert into generations (name, fingerprint, state) values ('generation_1', '', 'current');
end $$`

// A month was taken out of the log, and the broker has all of it still. What had come last of the month was not the end of it.
func TestWhatWasDetachedIsNotFetchedAgain(t *testing.T) {
	t.Parallel()
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	pool, admin := testservers.Open(t, db.ServiceURL, 4), testservers.Open(t, db.AdminURL, 1)
	_, stop := mustStart(t, pool, broker, channel)
	mustPublish(t, broker, channel, numbered(1, 60)...)
	mustHold(t, pool, numbered(1, 60))
	stop()
	mustForget(t, admin, `sequence = 40`)
	_, stop = mustStart(t, pool, broker, channel)
	mustHold(t, pool, numbered(1, 60))
	if _, err := admin.Exec(t.Context(), endMonthSQL); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, broker, channel, numbered(61, 100)...)
	mustHold(t, pool, numbered(1, 100))
	stop()
	if _, err := admin.Exec(t.Context(), `select detach_inbox_partition('ended')`); err != nil {
		t.Fatal(err)
	}
	mustForget(t, admin, `sequence = 80`)
	g, _ := mustStart(t, pool, broker, channel)
	testservers.Eventually(t, "what is lacking is fetched", func() bool { return testutil.ToFloat64(g.metrics.recovered) > 0 })
	mustHold(t, pool, numbered(61, 100))
	if n := testutil.ToFloat64(g.metrics.recovered); n != 1 {
		t.Errorf("%v messages were fetched, want the one that is not detached", n)
	}
}

// All that the broker still has is the last message that was detached. Its stamps are finer than the log's.
func TestTheLastThatWasDetachedIsNotFetchedAgain(t *testing.T) {
	t.Parallel()
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	pool, admin := testservers.Open(t, db.ServiceURL, 4), testservers.Open(t, db.AdminURL, 1)
	_, stop := mustStart(t, pool, broker, channel)
	mustPublish(t, broker, channel, numbered(1, 1)...)
	mustHold(t, pool, numbered(1, 1))
	if _, err := admin.Exec(t.Context(), endMonthSQL); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := admin.Exec(t.Context(), `select detach_inbox_partition('ended')`); err != nil {
		t.Fatal(err)
	}
	g, err := New(inbox.New(pool, nil), Options{URL: broker.URL, Cluster: broker.Cluster, Channel: channel, ClientID: "auditor",
		AckWait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	session, err := g.connect(t.Context(), func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer session.close()
	if n, err := g.audit.audit(t.Context(), session); n != 0 || err != nil {
		t.Errorf("%d messages were fetched: %v", n, err)
	}
}
