package publisher

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"
)

const (
	shortestPause = 100 * time.Millisecond
	longestPause  = 2 * time.Second

	// stopWait is how long confirmations are waited for after the context has ended.
	stopWait = 5 * time.Second

	// maxRefusals is how often the broker may refuse one message in its own words. Some refusals pass
	// (a restarted broker does not know the session, and pings tell so within seconds), others do not.
	maxRefusals = 12
)

// run is one call of Publish. All of it belongs to the goroutine that called, but for the channels.
type run struct {
	o        Options
	clientID string
	session  *session
	feed     chan item
	outcomes chan outcome

	taken    int64 // messages taken from the sequence
	inFlight int   // published and without an outcome; with len(again) never above the window
	bytes    int   // their payloads'
	again    []*message
	pauses   *backoff.ExponentialBackOff
	due      <-chan time.Time // when again is to be published; nil while it is empty
	result   Result
}

type message struct {
	number   int64 // in the sequence, from 1
	payload  []byte
	refusals int
}

// outcome is what became of one publish; each that PublishAsync accepted has exactly one.
type outcome struct {
	message *message
	err     error
}

func newRun(o Options) *run {
	return &run{
		o: o,
		// The same name for every session of this run, so that the broker replaces the lost one.
		clientID: "publish-" + rand.Text(),
		feed:     make(chan item),
		outcomes: make(chan outcome, o.Window),
		pauses:   newPauses(),
	}
}

func newPauses() *backoff.ExponentialBackOff {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = shortestPause, longestPause
	return pauses
}

// connect opens a session, trying for that long, or until ctx ends when limit is 0.
func (r *run) connect(ctx context.Context, limit time.Duration) error {
	session, err := backoff.Retry(ctx, func() (*session, error) { return openSession(r.o, r.clientID) },
		backoff.WithBackOff(newPauses()), backoff.WithMaxElapsedTime(limit),
		backoff.WithNotify(func(err error, pause time.Duration) {
			r.o.Log.Debug("no session yet", "pause", pause, "error", err)
		}))
	if err != nil {
		return err
	}
	r.session = session
	return nil
}

// loop publishes what is fed until all of it is confirmed.
func (r *run) loop(ctx context.Context) error {
	feed := r.feed
	var broken error // the sequence's own error
	for feed != nil || r.inFlight > 0 || len(r.again) > 0 {
		next := feed
		if len(r.again) > 0 || r.inFlight == r.o.Window || r.bytes >= maxInFlightBytes {
			next = nil
		}
		var err error
		select {
		case <-ctx.Done():
			err = context.Cause(ctx)
		case it, ok := <-next:
			if !ok || it.err != nil {
				feed, broken = nil, it.err
				break
			}
			r.taken++
			r.publish(&message{number: r.taken, payload: it.payload})
		case out := <-r.outcomes:
			err = r.settle(out)
		case <-r.due:
			r.publishAgain()
		case <-r.session.lost:
			r.reconnect(ctx)
		}
		if err != nil {
			return r.stop(err)
		}
	}
	if ctx.Err() != nil { // the sequence may be cut short, so this is no success
		return r.stop(context.Cause(ctx))
	}
	return broken
}

func (r *run) publish(m *message) {
	err := r.session.publish(m, func(err error) { r.outcomes <- outcome{m, err} })
	switch {
	case err == nil:
		r.inFlight++
		r.bytes += len(m.payload)
	case errors.Is(err, nats.ErrMaxPayload):
		r.result.Skipped++
		if r.o.Skipped != nil {
			r.o.Skipped(m.number, fmt.Errorf("%d bytes are more than the broker takes", len(m.payload)))
		}
	default:
		r.retry(m)
	}
}

// settle counts a confirmation or prepares another attempt. Its error ends the run.
func (r *run) settle(out outcome) error {
	r.inFlight--
	r.bytes -= len(out.message.payload)
	if out.err == nil {
		r.result.Confirmed++
		r.pauses.Reset()
		if r.o.Progress != nil {
			r.o.Progress(r.result)
		}
		return nil
	}
	r.retry(out.message)
	if slices.ContainsFunc(passing, func(err error) bool { return errors.Is(out.err, err) }) {
		return nil
	}
	if out.message.refusals++; out.message.refusals >= maxRefusals {
		return fmt.Errorf("the broker refuses message %d: %w", out.message.number, out.err)
	}
	return nil
}

// passing is what a broker that is away, or chooses its leader, comes to. All else are refusals in its own words.
var passing = []error{stan.ErrTimeout, stan.ErrConnectionClosed, nats.ErrConnectionClosed, nats.ErrDisconnected,
	jetstream.ErrAsyncPublishTimeout, jetstream.ErrNoStreamResponse}

func (r *run) retry(m *message) {
	r.again = append(r.again, m)
	if r.due == nil {
		r.due = time.After(r.pauses.NextBackOff())
	}
}

// publishAgain makes another attempt with everything that failed, in the sequence's order.
func (r *run) publishAgain() {
	again := r.again
	r.again, r.due = nil, nil
	slices.SortFunc(again, func(a, b *message) int { return cmp.Compare(a.number, b.number) })
	for _, m := range again {
		r.result.Retried++
		if r.o.Again != nil {
			r.o.Again(m.number)
		}
		r.publish(m)
	}
}

// reconnect replaces a lost session, for as long as ctx lasts.
func (r *run) reconnect(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	r.session.close() // gives every unconfirmed publish its outcome
	r.o.Log.Warn("session lost", "confirmed", r.result.Confirmed, "unconfirmed", r.inFlight, "error", r.session.why)
	if r.connect(ctx, 0) == nil {
		r.o.Log.Info("session built again")
	}
}

// stop takes nothing more and waits for the outstanding confirmations, for at most stopWait.
func (r *run) stop(why error) error {
	deadline := time.After(stopWait)
	for waiting := true; waiting && r.inFlight > 0; {
		select {
		case out := <-r.outcomes:
			_ = r.settle(out) // there is an error to return already
		case <-deadline:
			waiting = false
		}
	}
	r.result.Unconfirmed = int64(r.inFlight + len(r.again))
	return fmt.Errorf("stopped with %d messages confirmed and %d not: %w", r.result.Confirmed, r.result.Unconfirmed, why)
}
