package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderbox/inbox"
	"orderbox/internal/natstls"
	"orderbox/internal/retry"
	"orderbox/internal/trace"
)

// Options says what to ingest. URL, Channel and ClientID are needed, and Cluster or Stream.
type Options struct {
	URL     string // of a NATS server, or several with commas
	Cluster string // STAN's cluster id
	Stream  string // JetStream's stream, in place of STAN: everything in it is taken; it is made where there is none
	Channel string // STAN's, or the subject of a stream that is made
	TLS     natstls.Files
	// ClientID tells this replica from others: letters, digits, - and _. It must stay the same when the
	// replica is started again, or what it had not acknowledged arrives only after AckWait.
	ClientID string
	// Batch is how many messages share a commit at most (default 2048). The broker delivers up to
	// twice as many without acknowledgement, one batch that commits and one that gathers, or fewer once
	// so many did not fit into memory: 256 where the broker permits 1 MiB.
	Batch int
	// AckWait is after how long the broker delivers again what was not acknowledged; whole seconds
	// (default 30 s).
	AckWait time.Duration

	Log     *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil registers nothing
	Trace   *trace.Tracer         // nil tells nobody
}

const (
	maxHandBytes   = 256 << 20
	maxBatchBytes  = 16 << 20
	appendTimeout  = 30 * time.Second
	finishDeadline = 5 * time.Second
)

// Ingester is the stage. Make it with New.
type Ingester struct {
	box     *inbox.Inbox
	o       Options
	source  string // of the messages
	log     *slog.Logger
	metrics *metrics
	hand    *hand
	audit   *auditor
	connect func(ctx context.Context, lose func(error)) (session, error)
	portion retry.Portion // of a batch

	sessions  atomic.Int64 // begun
	detached  detached
	connected atomic.Bool
	large     atomic.Bool // there were messages too large for two batches to fit the hand
}

// New checks the options and returns an ingester that appends to box. It connects to nothing yet.
func New(box *inbox.Inbox, o Options) (*Ingester, error) {
	var problems []error
	for _, needed := range []struct{ name, value string }{
		{"URL", o.URL}, {"cluster or stream", cmp.Or(o.Stream, o.Cluster)}, {"channel", o.Channel}, {"client id", o.ClientID},
	} {
		if needed.value == "" {
			problems = append(problems, fmt.Errorf("the broker's %s is not given", needed.name))
		}
	}
	for server := range strings.SplitSeq(o.URL, ",") {
		if _, err := url.Parse(strings.TrimSpace(server)); err != nil {
			// Its text would quote the password.
			problems = append(problems, errors.New("the broker's URL cannot be parsed; it looks like nats://user:password@host:4222"))
		}
	}
	if o.Stream != "" {
		problems = append(problems, o.stream().Check())
	}
	if err := o.TLS.Check(); err != nil {
		problems = append(problems, err)
	}
	if o.Batch == 0 {
		o.Batch = 2048
	}
	if o.AckWait == 0 {
		o.AckWait = 30 * time.Second
	}
	if o.Batch < 1 || o.AckWait < time.Second || o.AckWait%time.Second != 0 {
		problems = append(problems, errors.New("batch must be at least 1 and the ack wait whole seconds"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	g := &Ingester{box: box, o: o, source: inbox.SourceSTAN}
	if g.connect = g.connectSTAN; o.Stream != "" {
		g.source, g.connect = inbox.SourceJetStream, g.connectStream
	}
	g.log = o.Log.With("stage", "ingest", "source", g.source)
	// Twice what the broker may have outstanding: when a durable resumes, all of it arrives at once.
	g.hand = newHand(4*o.Batch, maxHandBytes)
	g.metrics = newMetrics(g.source, o.Metrics, g.hand)
	g.audit = &auditor{box: box, source: g.source, settle: 2 * o.AckWait, rest: 2 * o.AckWait, doubt: make(chan struct{}, 1), hand: g.hand, log: g.log, metrics: g.metrics}
	return g, nil
}

// Run receives until ctx ends, for as long as the broker and the database take to come back. It returns
// nil after the batch in hand is committed and acknowledged, or after 5 s in which that was not possible:
// the broker then delivers it again.
func (g *Ingester) Run(ctx context.Context) error {
	// The session outlives ctx: what is in the hand is acknowledged on it.
	sessions, closeSession := context.WithCancel(context.WithoutCancel(ctx))
	defer closeSession()
	var group sync.WaitGroup
	group.Go(func() { g.followSessions(sessions, ctx) })
	g.commitUntil(ctx)
	closeSession()
	group.Wait()
	return nil
}

// Connected says whether there is a session with the broker right now, as far as is known: a silent
// broker is noticed after about 4 s. Any goroutine may ask.
func (g *Ingester) Connected() bool { return g.connected.Load() }
