package cutover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"

	"orderbox/internal/stream"
	"orderbox/internal/testservers"
)

func TestMain(m *testing.M) { testservers.Main(m) }

const channel = "orders"

// world is STAN and JetStream, on servers of their own.
type world struct {
	testing.TB
	stan, jet *testservers.OwnedBroker
	producer  int // of sessions
}

func newWorld(tb testing.TB) *world {
	return &world{TB: tb, stan: testservers.OwnBroker(tb), jet: testservers.OwnBroker(tb)}
}

func (w *world) options(client string) RelayOptions {
	log := &testservers.Buffer{}
	w.Cleanup(func() {
		if w.Failed() {
			w.Logf("%s logged\n%s", client, log)
		}
	})
	return RelayOptions{
		STAN:   STAN{stream.STAN{URL: w.stan.URL, Cluster: w.stan.Cluster, Client: client}, channel},
		Stream: stream.Options{URL: w.jet.URL, Name: "ORDERS", Subject: channel, Client: client},
		Log:    slog.New(slog.NewTextHandler(log, nil)),
	}
}

// mustPublish puts messages on the channel.
func (w *world) mustPublish(payloads ...[]byte) {
	w.Helper()
	w.producer++
	conn, err := stan.Connect(w.stan.Cluster, fmt.Sprint("producer-", w.producer), stan.NatsURL(w.stan.URL))
	if err != nil {
		w.Fatal(err)
	}
	defer conn.Close()
	var group sync.WaitGroup
	for _, p := range payloads {
		group.Add(1)
		if _, err := conn.PublishAsync(channel, p, func(_ string, err error) {
			if err != nil {
				w.Error(err)
			}
			group.Done()
		}); err != nil {
			w.Fatal(err)
		}
	}
	group.Wait()
}

// numbered are payloads that differ, some of them empty, and of any length.
func numbered(from, to int) (payloads [][]byte) {
	for n := from; n <= to; n++ {
		p := bytes.Repeat([]byte{byte(n), 0, 0xff}, n%50)
		payloads = append(payloads, fmt.Append(p, n))
	}
	return payloads
}

// mustRelay copies until STAN has been quiet for a moment.
func (w *world) mustRelay() (last Progress) {
	w.Helper()
	o := w.options("relay")
	o.UntilQuiet = 200 * time.Millisecond
	o.Progress = func(p Progress) { last = p }
	r, err := NewRelay(o)
	if err != nil {
		w.Fatal(err)
	}
	if err := r.Run(w.Context()); err != nil {
		w.Fatal(err)
	}
	return last
}

// run copies until done is called.
func (w *world) run(o RelayOptions) (done func()) {
	w.Helper()
	r, err := NewRelay(o)
	if err != nil {
		w.Fatal(err)
	}
	ctx, end := context.WithCancel(w.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if err := r.Run(ctx); err != nil {
			w.Error(err)
		}
	})
	return func() {
		end()
		group.Wait()
	}
}

func (w *world) mustJetStream() jetstream.JetStream {
	w.Helper()
	nc, err := nats.Connect(w.jet.URL)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		w.Fatal(err)
	}
	return js
}

// mustMake makes the stream as somebody might have.
func (w *world) mustMake(config jetstream.StreamConfig) jetstream.JetStream {
	w.Helper()
	js := w.mustJetStream()
	config.Name, config.Subjects = "ORDERS", []string{channel}
	if _, err := js.CreateStream(w.Context(), config); err != nil {
		w.Fatal(err)
	}
	return js
}

// mustHold fails the test unless the stream's copies are these payloads, in order, as the sequences from one on, and
// returns how many other messages there are.
func (w *world) mustHold(from uint64, payloads [][]byte) {
	w.Helper()
	s, err := w.mustJetStream().Stream(w.Context(), "ORDERS")
	if err != nil {
		w.Fatal(err)
	}
	next, stamp := from, int64(0)
	for seq := s.CachedInfo().State.FirstSeq; seq <= s.CachedInfo().State.LastSeq; seq++ {
		msg, err := s.GetMsg(w.Context(), seq)
		if err != nil {
			w.Fatal(err)
		}
		origin, ok := stream.OriginOf(msg.Subject, msg.Header)
		if !ok {
			continue
		}
		i := int(next - from)
		if origin.Sequence != next || origin.Stamp < stamp || i >= len(payloads) || !bytes.Equal(msg.Data, payloads[i]) {
			w.Fatalf("message %d of the stream is a copy of %+v, want of %d", seq, origin, next)
		}
		next, stamp = next+1, origin.Stamp
	}
	if n := next - from; n != uint64(len(payloads)) {
		w.Fatalf("%d of %d messages are copied", n, len(payloads))
	}
}

func TestHistoryIsCopiedAndThenWhatComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	payloads := numbered(1, 2500)
	w.mustPublish(payloads[:2000]...)
	if p := w.mustRelay(); p.Copied != 2000 || p.Behind != 0 || p.Last != 2000 || p.Newest.IsZero() {
		t.Errorf("progress %+v", p)
	}
	w.mustHold(1, payloads[:2000])

	done := w.run(w.options("relay"))
	js := w.mustJetStream()
	for n := 2000; n < len(payloads); n += 100 {
		w.mustPublish(payloads[n : n+100]...)
	}
	testservers.Eventually(t, "the last is copied", func() bool {
		s, err := js.Stream(t.Context(), "ORDERS")
		return err == nil && s.CachedInfo().State.Msgs == uint64(len(payloads))
	})
	done()
	w.mustHold(1, payloads)
}

// Relays come and go, two at a time, and each server is restarted, while messages come.
func TestCopiesAreInOrderWhateverBreaks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	payloads := numbered(1, 6000)
	w.mustPublish(payloads[:3000]...)
	ctx, end := context.WithCancel(t.Context())
	var relays sync.WaitGroup
	var copied atomic.Int64 // since it was asked last
	for n := range 2 {
		o := w.options(fmt.Sprint("relay-", n))
		o.Progress = func(p Progress) { copied.Add(p.Copied) }
		relays.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(n), 7))
			for ctx.Err() == nil {
				short, cut := context.WithTimeout(ctx, time.Duration(50+dice.IntN(2000))*time.Millisecond)
				if r, err := NewRelay(o); err != nil {
					t.Error(err)
				} else if err := r.Run(short); err != nil {
					t.Error(err)
				}
				cut()
			}
		})
	}
	for n := 3000; n < len(payloads); n += 50 {
		w.mustPublish(payloads[n : n+50]...)
		restarted := w.stan
		switch {
		case n%1000 == 0:
			restarted = w.jet
		case n%500 != 0:
			continue
		}
		since := time.Now() // a relay that was cut off before it heard of its last copies counts none, and there may be no more
		testservers.Eventually(t, "something is copied", func() bool { return copied.Swap(0) > 0 || time.Since(since) > 10*time.Second })
		restarted.Stop()
		restarted.Start()
	}
	end()
	relays.Wait()
	w.mustRelay()
	w.mustHold(1, payloads)
}

func TestAChannelThatCountsAnewIsCopiedFromItsFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustPublish(numbered(1, 30)...)
	w.mustRelay()
	w.stan.Wipe()
	again := numbered(101, 150) // beyond where it was
	w.mustPublish(again...)
	if p := w.mustRelay(); p.Copied != 50 || p.Last != 50 {
		t.Errorf("progress %+v", p)
	}
	w.mustPublish(numbered(151, 160)...)
	if p := w.mustRelay(); p.Copied != 10 || p.Last != 60 {
		t.Errorf("progress %+v", p)
	}
	w.stan.Wipe()
	w.mustPublish(numbered(201, 205)...) // not so far
	if p := w.mustRelay(); p.Copied != 5 || p.Last != 5 {
		t.Errorf("progress %+v", p)
	}
}

// A broker that says nothing may be slow, or have lost its store: only a message of it tells.
func TestASTANThatIsSilentIsNeitherAnewNorZeroBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mustPublish(numbered(1, 30)...)
	w.mustRelay()
	w.stan.Wipe()
	log, o := &testservers.Buffer{}, w.options("relay")
	o.Log, o.UntilQuiet = slog.New(slog.NewTextHandler(log, nil)), 200*time.Millisecond
	var known atomic.Bool
	o.Progress = func(p Progress) {
		if p.Known {
			known.Store(true)
		}
	}
	done := w.run(o)
	testservers.Eventually(t, "the silence is noticed", func() bool { return strings.Contains(log.String(), stream.ErrSilent.Error()) })
	if known.Load() || strings.Contains(log.String(), "copying from the first") {
		t.Errorf("known %t, log\n%s", known.Load(), log)
	}
	done()
	w.mustPublish(numbered(101, 105)...)
	if p := w.mustRelay(); !p.Known || p.Copied != 5 || p.Last != 5 {
		t.Errorf("progress %+v", p)
	}
}

func TestNothingIsKnownOfAChannelWithoutMessages(t *testing.T) {
	t.Parallel()
	if p := newWorld(t).mustRelay(); p != (Progress{}) {
		t.Errorf("progress %+v", p)
	}
}

func TestWhatSTANDroppedIsNoHole(t *testing.T) {
	t.Parallel()
	w := &world{TB: t, stan: testservers.OwnBrokerKeeping(t, 100), jet: testservers.OwnBroker(t)}
	payloads := numbered(1, 150)
	w.mustPublish(payloads...)
	w.mustRelay()
	w.mustHold(51, payloads[50:])
}

// Messages that do not fit a batch with others go alone, in their order.
func TestLargeMessagesAreCopied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	payloads := numbered(1, 40)
	for i := range payloads {
		if i%3 == 0 {
			payloads[i] = bytes.Repeat([]byte{byte(i)}, 1<<20-400+i)
		}
	}
	w.mustPublish(payloads...)
	w.mustRelay()
	w.mustHold(1, payloads)
}

// The limit is the stream's disk: the server syncs what it takes.
func BenchmarkRelay(b *testing.B) {
	w := newWorld(b)
	payload := bytes.Repeat([]byte("x"), 1100)
	for b.Loop() {
		const messages = 20_000
		b.StopTimer()
		payloads := make([][]byte, messages)
		for i := range payloads {
			payloads[i] = payload
		}
		w.mustPublish(payloads...)
		b.StartTimer()
		if p := w.mustRelay(); p.Copied != messages {
			b.Fatalf("%+v", p)
		}
	}
	b.ReportMetric(float64(20_000*b.N)/b.Elapsed().Seconds(), "messages/s")
}

// What does not pass by itself is said, with what to do.
func TestARelayRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare      func(w *world)
		says, advice string
		copied       uint64
	}{
		"a message that is too large": {func(w *world) {
			w.mustMake(jetstream.StreamConfig{MaxMsgSize: 1000})
			w.mustPublish([]byte("a"), []byte("b"), make([]byte, 1500), []byte("c"))
		}, "message 3 of the channel orders has 1500 bytes", "max_payload", 0},
		"a stream that forgets": {func(w *world) {
			w.mustMake(jetstream.StreamConfig{Retention: jetstream.WorkQueuePolicy})
		}, "forgets", "retention", 0},
		"somebody else on the copies' subject": {func(w *world) {
			w.mustRelay()
			if _, err := w.mustJetStream().Publish(w.Context(), stream.CopySubject(channel), nil); err != nil {
				w.Fatal(err)
			}
		}, "no copy of a STAN message", "nats stream rmm ORDERS 1", 1},
		"a subject that another stream has": {func(w *world) {
			js := w.mustMake(jetstream.StreamConfig{})
			if _, err := js.CreateStream(w.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"orders.*"}}); err != nil {
				w.Fatal(err)
			}
		}, "overlap", "nats stream edit ORDERS --subjects orders,orders.stan --allow-batch", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.prepare(w)
			r, err := NewRelay(w.options("relay"))
			if err != nil {
				t.Fatal(err)
			}
			err = r.Run(t.Context())
			refusal, ok := errors.AsType[*Refusal](err)
			if !ok || !strings.Contains(err.Error(), c.says) || !strings.Contains(refusal.Advice, c.advice) {
				t.Errorf("%v; try: %+v", err, refusal)
			}
		})
	}
}
