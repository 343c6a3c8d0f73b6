package publisher

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"

	"orderbox/internal/stream"
	"orderbox/internal/testservers"
)

func TestMain(m *testing.M) {
	testservers.Main(m)
}

// payloads is a sequence that holds these payloads.
func payloads(all ...[]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, payload := range all {
			if !yield(payload, nil) {
				return
			}
		}
	}
}

func generated(seed uint64, count int, rubbish float64) [][]byte {
	var all [][]byte
	for m := range Messages(seed, count, rubbish) {
		all = append(all, m.Payload)
	}
	return all
}

func mustNew(tb testing.TB, o Options) *Publisher {
	tb.Helper()
	p, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// mustReceive reads the channel from its first message on until enough says so.
func mustReceive(tb testing.TB, url, cluster, channel string, enough func(payload []byte) bool) {
	tb.Helper()
	conn, err := stan.Connect(cluster, "receiver-"+channel, stan.NatsURL(url))
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	done := make(chan struct{})
	finish := sync.OnceFunc(func() { close(done) })
	if _, err := conn.Subscribe(channel, func(m *stan.Msg) {
		if enough(m.Data) {
			finish()
		}
	}, stan.DeliverAllAvailable()); err != nil {
		tb.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		tb.Fatal("not everything that was confirmed is on the channel")
	}
}

func TestPublishedVerbatimAndInOrder(t *testing.T) {
	t.Parallel()
	broker := testservers.Broker(t)
	channel := testservers.Channel(t)
	all := append(generated(1, 2000, 0.5), []byte{}, bytes.Repeat([]byte{0, 0xff}, 200_000), Model)
	var seen int64
	p := mustNew(t, Options{URL: broker.URL, Cluster: broker.Cluster, Channel: channel, Window: 64,
		Progress: func(r Result) { seen = r.Confirmed }})

	result, err := p.Publish(t.Context(), payloads(all...))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Result{Confirmed: int64(len(all))}); result != want || seen != want.Confirmed {
		t.Errorf("result %+v, progress %d, want %+v", result, seen, want)
	}
	next := 0
	mustReceive(t, broker.URL, broker.Cluster, channel, func(payload []byte) bool {
		if next < len(all) && !bytes.Equal(payload, all[next]) {
			t.Errorf("message %d came as %.80q, want %.80q", next, payload, all[next])
		}
		next++
		return next == len(all)
	})
}

// publishThrough publishes all, and restarts the broker when a thousand are confirmed.
func publishThrough(t *testing.T, broker *testservers.OwnedBroker, o Options, all [][]byte) (p *Publisher, result Result, err error) {
	t.Helper()
	half := make(chan struct{})
	o.URL, o.Window, o.AckWait = broker.URL, 256, 2*time.Second
	o.Progress = func(r Result) {
		if r.Confirmed == 1000 {
			close(half)
		}
	}
	p = mustNew(t, o)
	done := make(chan struct{})
	go func() {
		defer close(done)
		result, err = p.Publish(t.Context(), payloads(all...))
	}()
	select {
	case <-half:
		broker.Stop()
		broker.Start()
	case <-done:
	}
	<-done
	return p, result, err
}

func TestBrokerThatGoesAwayLosesNothing(t *testing.T) {
	t.Parallel()
	broker := testservers.OwnBroker(t)
	channel := testservers.Channel(t)
	all := generated(2, 3000, 0)
	again := int64(0)
	_, result, err := publishThrough(t, broker, Options{Cluster: broker.Cluster, Channel: channel,
		Again: func(number int64) {
			if again++; number < 1 || number > int64(len(all)) {
				t.Errorf("message %d of %d is published once more", number, len(all))
			}
		}}, all)
	if err != nil {
		t.Fatal(err)
	}
	if result.Confirmed != int64(len(all)) || result.Retried == 0 || result.Retried != again {
		t.Errorf("result %+v and %d told, want %d confirmed and some retried", result, again, len(all))
	}
	missing := map[string]bool{}
	for _, payload := range all {
		missing[string(payload)] = true
	}
	mustReceive(t, broker.URL, broker.Cluster, channel, func(payload []byte) bool {
		delete(missing, string(payload))
		return len(missing) == 0
	})
}

// What was stored before the server went and was not confirmed is published again, and the stream knows it.
func TestAStreamThatGoesAwayHasEachMessageOnce(t *testing.T) {
	t.Parallel()
	broker := testservers.OwnBroker(t)
	all := append(generated(2, 3000, 0), []byte{}, bytes.Repeat([]byte{0, 0xff}, 200_000))
	p, result, err := publishThrough(t, broker, Options{Stream: "ORDERS", Channel: "orders"}, all)
	if err != nil || result.Confirmed != int64(len(all)) {
		t.Fatalf("%+v, %v", result, err)
	}
	conn, js, err := stream.Connect(p.o.stream(), func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	orders, err := js.Stream(t.Context(), "ORDERS")
	if err != nil {
		t.Fatal(err)
	}
	if n := orders.CachedInfo().State.Msgs; n != uint64(len(all)) {
		t.Errorf("%d messages in the stream, want each of %d once", n, len(all))
	}
	consumer, err := orders.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	batch, err := consumer.Fetch(len(all), jetstream.FetchMaxWait(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	var got [][]byte
	for msg := range batch.Messages() {
		got = append(got, msg.Data())
	}
	slices.SortFunc(got, bytes.Compare)
	slices.SortFunc(all, bytes.Compare)
	if !slices.EqualFunc(got, all, bytes.Equal) {
		t.Errorf("%d payloads came, and they are not the %d that were published", len(got), len(all))
	}
}

func TestStoppingWaitsForConfirmations(t *testing.T) {
	t.Parallel()
	broker := testservers.Broker(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := mustNew(t, Options{URL: broker.URL, Cluster: broker.Cluster, Channel: testservers.Channel(t)})

	published := int64(0)
	result, err := p.Publish(ctx, func(yield func([]byte, error) bool) {
		for o := range Orders(3) {
			if published++; published > 500 {
				cancel()
			}
			if !yield(o.JSON(), nil) {
				return
			}
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	if result.Confirmed < 500 || result.Confirmed > published || result.Unconfirmed != 0 {
		t.Errorf("result %+v of %d", result, published)
	}
}

func TestSequenceThatFailsEndsAfterWhatCameBefore(t *testing.T) {
	t.Parallel()
	broker := testservers.Broker(t)
	p := mustNew(t, Options{URL: broker.URL, Cluster: broker.Cluster, Channel: testservers.Channel(t)})
	broken := errors.New("the disk is gone")
	result, err := p.Publish(t.Context(), func(yield func([]byte, error) bool) {
		_ = yield([]byte("one"), nil) && yield([]byte("two"), nil) && yield(nil, broken)
	})
	if !errors.Is(err, broken) || result.Confirmed != 2 {
		t.Errorf("result %+v, error %v", result, err)
	}
}

func TestTooLargeIsSkippedAndReported(t *testing.T) {
	t.Parallel()
	broker := testservers.Broker(t)
	var skipped []int64
	p := mustNew(t, Options{URL: broker.URL, Cluster: broker.Cluster, Channel: testservers.Channel(t),
		Skipped: func(number int64, _ error) { skipped = append(skipped, number) }})
	// No NATS server takes more than 64 MB.
	result, err := p.Publish(t.Context(), payloads([]byte("one"), make([]byte, 65<<20), []byte("three")))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Result{Confirmed: 2, Skipped: 1}); result != want || !slices.Equal(skipped, []int64{2}) {
		t.Errorf("result %+v, skipped %v", result, skipped)
	}
}

func TestRateIsKept(t *testing.T) {
	t.Parallel()
	broker := testservers.Broker(t)
	p := mustNew(t, Options{URL: broker.URL, Cluster: broker.Cluster, Channel: testservers.Channel(t), Rate: 100})
	started := time.Now()
	if _, err := p.Publish(t.Context(), payloads(generated(4, 51, 0)...)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took < 450*time.Millisecond {
		t.Errorf("51 messages at 100 per second took %s", took)
	}
}

func TestNoBrokerIsSaidWithinTheWait(t *testing.T) {
	t.Parallel()
	p := mustNew(t, Options{URL: "nats://user:secret@127.0.0.1:1", Cluster: "c", Channel: "orders", ConnectWait: 300 * time.Millisecond})
	started := time.Now()
	_, err := p.Publish(t.Context(), payloads(Model))
	if !errors.Is(err, ErrNoBroker) || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("error %v", err)
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestWrongClusterIsSaid(t *testing.T) {
	t.Parallel()
	broker := testservers.Broker(t)
	p := mustNew(t, Options{URL: broker.URL, Cluster: "other", Channel: "orders", ConnectWait: 300 * time.Millisecond})
	_, err := p.Publish(t.Context(), payloads(Model))
	if !errors.Is(err, ErrNoBroker) || !strings.Contains(err.Error(), "cluster") {
		t.Errorf("error %v", err)
	}
}

func TestAllThatIsWrongWithOptionsIsReported(t *testing.T) {
	t.Parallel()
	_, err := New(Options{Channel: "orders.>", Rate: -1, Window: -1})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{"URL", "cluster", `"orders.>"`, "rate", "window"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q says nothing of %s", err, part)
		}
	}
}
