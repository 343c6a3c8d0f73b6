package cutover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"

	"orderbox/internal/retry"
	"orderbox/internal/stream"
)

// RelayOptions says from where to where to copy, and until when.
type RelayOptions struct {
	STAN   STAN
	Stream stream.Options // its subject is STAN's channel
	// UntilQuiet ends the relay once STAN has had nothing new for so long and all of it is copied; 0 never does.
	UntilQuiet time.Duration
	// Progress is called when a session begins, about every second while there is one, and at the end; by one goroutine at a
	// time. It may be nil.
	Progress func(Progress)
	Log      *slog.Logger // nil discards
}

// Progress is how far a relay has come.
type Progress struct {
	Copied int64  // messages, by this run
	Last   uint64 // the sequence up to which all are copied
	// Known says that this session has read both STAN and the stream. Until then nothing is known of the rest, and it is zero.
	Known bool
	// Behind is how many messages STAN has beyond. A producer that has stopped publishing to STAN may go on in the stream once
	// it is 0, and Quiet some seconds long since it stopped.
	Behind int64
	Newest time.Time     // STAN's stamp of its newest message
	Quiet  time.Duration // for how long this session has seen nothing new there, when it looked last
}

// Refusal is an error that does not pass by itself: Advice says what to do.
type Refusal struct {
	Err    error
	Advice string
}

// Error is the error without the advice.
func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the error.
func (r *Refusal) Unwrap() error { return r.Err }

// Relay copies. Make it with NewRelay.
type Relay struct {
	o   RelayOptions
	log *slog.Logger

	large bool // there were messages too large for many to be on their way; of the goroutine that runs

	mu      sync.Mutex // guards what follows
	copied  int64
	last    place     // the last that is copied
	newest  place     // of STAN's; zero until this session knows it
	changed time.Time // when it was seen to change, or the session began
	seen    time.Time // when STAN was asked last and answered
}

// errQuiet ends a relay that has nothing more to do.
var errQuiet = errors.New("nothing new for long enough")

// NewRelay checks the options and returns a relay. It connects to nothing yet.
func NewRelay(o RelayOptions) (*Relay, error) {
	if o.STAN.Channel != o.Stream.Subject {
		return nil, fmt.Errorf("the channel is %q and the stream's subject %q: they must be the same", o.STAN.Channel, o.Stream.Subject)
	}
	if err := errors.Join(o.Stream.Check(), o.STAN.TLS.Check()); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	return &Relay{o: o, log: o.Log}, nil
}

// Run copies until ctx ends or STAN is quiet, and returns nil then; for as long as the brokers take to come back. Its
// error is a *Refusal. It may be killed at any moment, and run again.
func (r *Relay) Run(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	retry.Forever(ctx, r.log, "relay", func(ctx context.Context, works func()) error {
		err := r.session(ctx, works)
		if _, refused := errors.AsType[*Refusal](err); refused || errors.Is(err, errQuiet) {
			end(err)
		}
		return err
	})
	r.o.Progress(r.progress())
	if refusal, ok := errors.AsType[*Refusal](context.Cause(ctx)); ok {
		return refusal
	}
	return nil
}

// session copies until something breaks.
func (r *Relay) session(ctx context.Context, works func()) error {
	lost, lose := stream.Lost()
	r.saw(place{}, time.Now()) // what came while there was no session was not seen
	r.o.Progress(r.progress())
	nc, js, err := connectStream(r.o.Stream, lose)
	if err != nil {
		return err
	}
	defer nc.Close()
	to, err := r.open(ctx, nc, js)
	if err != nil {
		return err
	}
	conn, err := r.o.STAN.connect(lose)
	if err != nil {
		return err
	}
	defer conn.Close()
	start, err := r.resume(ctx, conn, to)
	if err != nil {
		return err
	}
	works()
	r.log.Info("copying", "channel", r.o.STAN.Channel, "stream", r.o.Stream.Name, "after_sequence", to.last.sequence)

	// Whatever ends first, the watch or the copying, ends the other.
	watching, stop := context.WithCancelCause(ctx)
	var group sync.WaitGroup
	group.Go(func() { stop(r.watch(watching, conn)) })
	err = deliver(watching, conn, r.o.STAN.Channel, start, r.large, lost, func(first *stan.Msg, more <-chan *stan.Msg) error {
		return r.copy(watching, conn, to, first, more)
	})
	r.large = r.large || errors.Is(err, errLarge)
	stop(err)
	group.Wait()
	return context.Cause(watching)
}

// resume returns where to go on: behind the last copy, if STAN still counts as it did then. One whose store was lost counts
// from 1 again, and is copied from the first message it has. Only a message of its says so: silence does not.
func (r *Relay) resume(ctx context.Context, conn stan.Conn, to *target) (stan.SubscriptionOption, error) {
	newest, err := peek(ctx, conn, r.o.STAN.Channel, stan.StartWithLastReceived())
	if err != nil && (to.last.sequence > 0 || !errors.Is(err, stream.ErrSilent)) {
		return nil, err
	}
	defer func() {
		r.done(0, to.last)
		r.saw(newest, time.Now())
	}()
	if to.last.sequence == 0 {
		return stan.DeliverAllAvailable(), nil
	}
	there := place{}
	if newest.sequence >= to.last.sequence {
		if there, err = peek(ctx, conn, r.o.STAN.Channel, stan.StartAtSequence(to.last.sequence)); err != nil {
			return nil, err
		}
	}
	if there != to.last {
		r.log.Warn("STAN does not have the message any more that was copied last: copying from the first that it has",
			"channel", r.o.STAN.Channel, "last_sequence", to.last.sequence, "newest_sequence", newest.sequence)
		to.last = place{}
		return stan.DeliverAllAvailable(), nil
	}
	return stan.StartAtSequence(to.last.sequence + 1), nil
}

const watchEvery = time.Second

// watch tells the progress, and says when STAN has been quiet for long enough.
func (r *Relay) watch(ctx context.Context, conn stan.Conn) error {
	began := time.Now()
	for {
		asked := time.Now()
		newest, err := peek(ctx, conn, r.o.STAN.Channel, stan.StartWithLastReceived())
		nothing := errors.Is(err, stream.ErrSilent) && r.nothing() // an empty channel, as far as one can see
		if err != nil && !nothing {
			return err
		}
		if !nothing {
			r.saw(newest, asked)
		}
		p := r.progress()
		r.o.Progress(p)
		if r.o.UntilQuiet > 0 && (p.Known && p.Behind == 0 && p.Quiet >= r.o.UntilQuiet || nothing && time.Since(began) >= r.o.UntilQuiet) {
			return errQuiet
		}
		if err := retry.Wait(ctx, min(watchEvery, max(r.o.UntilQuiet/4, 10*time.Millisecond))); err != nil {
			return err
		}
	}
}

// saw takes note of STAN's newest message, as it was when asked for; a zero one begins anew.
func (r *Relay) saw(newest place, asked time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = asked
	if newest != r.newest {
		r.newest, r.changed = newest, time.Now()
	}
}

// nothing says that neither STAN nor the stream has shown a message of the channel.
func (r *Relay) nothing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest == place{} && r.last == place{}
}

func (r *Relay) progress() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := Progress{Copied: r.copied, Last: r.last.sequence}
	if p.Known = r.newest.sequence > 0; p.Known {
		p.Behind = int64(r.newest.sequence - min(r.newest.sequence, r.last.sequence))
		p.Newest = time.Unix(0, r.newest.stamp).UTC()
		p.Quiet = max(0, r.seen.Sub(r.changed))
	}
	return p
}

// done takes note of messages that are copied.
func (r *Relay) done(n int, last place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.copied += int64(n)
	r.last = last
}

// wrongLast says that somebody else has copied meanwhile.
func wrongLast(err error) bool {
	refused, ok := errors.AsType[*jetstream.APIError](err)
	return ok && refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}
