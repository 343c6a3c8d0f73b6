package publisher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"orderbox/internal/natstls"
	"orderbox/internal/stream"
)

// maxInFlightBytes bounds the payloads that are published and not yet confirmed, beside Options.Window.
// One message may always be in flight, however large.
const maxInFlightBytes = 16 << 20

// ErrNoBroker says that no session could be had at the start.
var ErrNoBroker = errors.New("no broker answers")

// Options says where and how to publish. URL, Channel, and Cluster or Stream are needed, all else has a default.
type Options struct {
	// URL is the NATS server's, or several with commas between them.
	URL string
	// Cluster is the STAN cluster's id.
	Cluster string
	// Stream is JetStream's stream to publish to, in place of STAN; it is made where there is none.
	Stream string
	// Channel is where to publish: STAN's channel, or the subject of a stream.
	Channel string
	// TLS are the files by which the server and we make sure of each other.
	TLS natstls.Files
	// Window is how many messages may be unconfirmed at a time. Default 1024.
	Window int
	// Rate is the most messages per second that are taken from the sequence. 0 is no limit.
	Rate float64
	// ConnectWait is how long the first session is tried for. Default 10 s. Later ones are tried for ever.
	ConnectWait time.Duration
	// AckWait is after how long without a confirmation a message is published again. Default 10 s.
	AckWait time.Duration
	// Progress, if set, is called after each confirmation, from the goroutine that called Publish.
	Progress func(Result)
	// Skipped, if set, is called for each message that the broker can never take because it is too large,
	// with its number in the sequence (from 1), from the goroutine that called Publish.
	Skipped func(number int64, err error)
	// Again, if set, is called for each message before it is published once more, with its number in the
	// sequence, from the goroutine that called Publish. From then on it may be on the channel once more.
	Again func(number int64)
	// Log hears of lost sessions and repeated attempts. Default: nobody.
	Log *slog.Logger
}

// Result is what became of a sequence, in messages.
type Result struct {
	// Confirmed are stored by the broker.
	Confirmed int64
	// Retried is how often a message was published once more. So many may be on the channel twice.
	Retried int64
	// Skipped were too large for the broker.
	Skipped int64
	// Unconfirmed were published, but the end came before the broker confirmed them. They may be there.
	Unconfirmed int64
}

// Publisher publishes on one channel.
type Publisher struct {
	o Options
}

// New checks the options; nothing is connected yet. All that is wrong with them is reported at once.
func New(o Options) (*Publisher, error) {
	var problems []error
	if o.URL == "" {
		problems = append(problems, errors.New("the broker's URL is empty"))
	}
	switch {
	case o.Stream != "":
		problems = append(problems, o.stream().Check())
	case o.Cluster == "":
		problems = append(problems, errors.New("the cluster id is empty"))
	}
	if err := stream.CheckSubject(o.Channel); o.Stream == "" && err != nil {
		problems = append(problems, err)
	}
	if err := o.TLS.Check(); err != nil {
		problems = append(problems, err)
	}
	if o.Rate < 0 || math.IsNaN(o.Rate) || math.IsInf(o.Rate, 0) {
		problems = append(problems, fmt.Errorf("rate %g: it is a number of messages per second, or 0", o.Rate))
	}
	if o.Window < 0 || o.ConnectWait < 0 || o.AckWait < 0 {
		problems = append(problems, errors.New("window and waits cannot be negative"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	o.Window = cmp.Or(o.Window, 1024)
	o.ConnectWait = cmp.Or(o.ConnectWait, 10*time.Second)
	o.AckWait = cmp.Or(o.AckWait, 10*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Publisher{o: o}, nil
}

// Publish publishes the payloads byte for byte and returns when the broker has confirmed all of them, or
// when ctx ends; it then waits up to 5 s for confirmations, and the error says that it was stopped.
//
// At least once: a message whose confirmation does not come in time, or whose session is lost before, is
// published again, with growing pauses and for as long as ctx lasts. It may so come twice, and never not
// at all. Messages are published in the order of the sequence, and are stored in it as long as nothing is
// published again; what is, comes before anything new, in its own order.
//
// The error is ErrNoBroker (wrapped, with its cause) when there was none at the start; the sequence's
// own error, which ends it, once all before it is confirmed; or what the broker says when it goes on
// refusing one message. The Result holds in every case.
//
// A payload must not be changed after it was yielded. The sequence is pulled from a goroutine of its
// own, so a sequence that blocks holds up no confirmation; when ctx ends while it blocks, that goroutine
// ends only when the sequence yields again. Publish may be called several times, also concurrently.
func (p *Publisher) Publish(ctx context.Context, messages iter.Seq2[[]byte, error]) (Result, error) {
	r := newRun(p.o)
	err := r.connect(ctx, p.o.ConnectWait)
	if errors.Is(err, ErrNotTaken) {
		return Result{}, err
	}
	if err != nil {
		return Result{}, fmt.Errorf("%w at %s: %w", ErrNoBroker, strings.Join(stream.Hosts(p.o.URL), ", "), err)
	}
	defer func() { r.session.close() }() // the last one, which need not be the first

	feeding, stop := context.WithCancel(ctx)
	defer stop()
	go pull(feeding, messages, p.o.Rate, r.feed)
	err = r.loop(ctx)
	return r.result, err
}

// item is one step of a sequence.
type item struct {
	payload []byte
	err     error
}

// pull hands over the sequence at the rate, until it ends or ctx does, and then closes feed.
func pull(ctx context.Context, messages iter.Seq2[[]byte, error], perSecond float64, feed chan<- item) {
	defer close(feed)
	limit := rate.NewLimiter(rate.Inf, 1)
	if perSecond > 0 {
		// Timers are coarse: what a hundredth of a second missed may be made up for.
		limit = rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond/100)))
	}
	for payload, err := range messages {
		if limit.Wait(ctx) != nil {
			return
		}
		select {
		case feed <- item{payload, err}:
		case <-ctx.Done():
			return
		}
	}
}
