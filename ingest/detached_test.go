package ingest

import (
	"testing"
	"time"

	"github.com/nats-io/stan.go"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"orderbox/internal/testservers"
)

// mustDetach takes all that is in the log out of it.
func mustDetach(t *testing.T, db testservers.DB) {
	t.Helper()
	admin := testservers.Open(t, db.AdminURL, 1)
	for _, statement := range []string{endMonthSQL, `select detach_inbox_partition('ended')`} {
		if _, err := admin.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

// The consumer was deleted, and the one that takes its place is given all that the stream has.
func TestAConsumerThatIsMadeAnewBringsNothingBackThatWasDetached(t *testing.T) {
	t.Parallel()
	db, broker := testservers.Database(t), testservers.OwnBroker(t)
	pool := testservers.Open(t, db.ServiceURL, 4)
	_, stop := mustRun(t, pool, jetOptions(broker))
	mustStream(t, broker, numbered(1, 60)...)
	mustHold(t, pool, numbered(1, 60))
	stop()
	mustDetach(t, db)
	_, s := mustConnect(t, broker)
	if err := s.DeleteConsumer(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	mustStream(t, broker, numbered(61, 80)...)
	g, _ := mustRun(t, pool, jetOptions(broker))
	testservers.Eventually(t, "all is delivered", func() bool { return testutil.ToFloat64(g.metrics.received) == 80 })
	mustHoldInOrder(t, pool, numbered(61, 80))
	testservers.Eventually(t, "all is acknowledged", func() bool {
		consumer, err := s.Consumer(t.Context(), group)
		return err == nil && consumer.CachedInfo().AckFloor.Stream == 80
	})
	mustHoldInOrder(t, pool, numbered(61, 80))
}

func TestADurableThatIsMadeAnewBringsNothingBackThatWasDetached(t *testing.T) {
	t.Parallel()
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	pool := testservers.Open(t, db.ServiceURL, 4)
	_, stop := mustStart(t, pool, broker, channel)
	mustPublish(t, broker, channel, numbered(1, 60)...)
	mustHold(t, pool, numbered(1, 60))
	stop()
	mustDetach(t, db)
	conn, err := stan.Connect(broker.Cluster, "stranger-of-"+channel, stan.NatsURL(broker.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sub, err := conn.QueueSubscribe(channel, group, func(*stan.Msg) {}, stan.DurableName(group), stan.SetManualAckMode())
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, broker, channel, numbered(61, 80)...)
	g, _ := mustStart(t, pool, broker, channel)
	testservers.Eventually(t, "all is delivered", func() bool { return testutil.ToFloat64(g.metrics.received) == 80 })
	testservers.Eventually(t, "nothing is in the hand", func() bool { n, _ := g.hand.size(); return n == 0 })
	mustHold(t, pool, numbered(61, 80))
}

// What somebody had in hand when the month was over is in no log yet, and what is asked for again is asked for on purpose.
func TestOnlyTheFirstDeliveryOfWhatWasDetachedIsLeftOut(t *testing.T) {
	t.Parallel()
	db := testservers.Database(t)
	pool, admin := testservers.Open(t, db.ServiceURL, 1), testservers.Open(t, db.AdminURL, 1)
	if _, err := admin.Exec(t.Context(), `
		insert into detached (partition, source, channel, messages, first, last, last_sequence, last_stamp)
		values ('inbox_x', 'stan', 'c', 9, 1, 9, 9, '2026-02-01 00:00:09.000001Z')`); err != nil {
		t.Fatal(err)
	}
	g := mustMake(t, pool, Options{URL: "nats://nowhere", Cluster: "c", Channel: "c", ClientID: "c"})
	last := time.Date(2026, 2, 1, 0, 0, 9, 1999, time.UTC).UnixNano() // finer than the log's
	for name, c := range map[string]struct {
		delivery
		kept bool
	}{
		"the last":                    {delivery{identity: identity{"c", 9, last}, first: true}, false},
		"one before":                  {delivery{identity: identity{"c", 3, last - 5e9}, first: true}, false},
		"one behind":                  {delivery{identity: identity{"c", 10, last}, first: true}, true},
		"of a broker that counts new": {delivery{identity: identity{"c", 3, last + 5e9}, first: true}, true},
		"of another channel":          {delivery{identity: identity{"d", 3, last - 5e9}, first: true}, true},
		"delivered again":             {delivery{identity: identity{"c", 3, last - 5e9}}, true},
	} {
		kept, err := g.withoutDetached(t.Context(), []*delivery{&c.delivery})
		if err != nil {
			t.Fatal(err)
		}
		if (len(kept) == 1) != c.kept {
			t.Errorf("%s: kept is %v, want %v", name, !c.kept, c.kept)
		}
	}
}
