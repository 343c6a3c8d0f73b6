package projector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"orderbox/inbox"
	"orderbox/internal/listen"
	"orderbox/internal/retry"
	"orderbox/internal/trace"
)

// Options are how the projector works; the zero value is good.
type Options struct {
	// Schema is the JSON Schema to judge by (draft 2020-12); nil is the built-in one. Integers that it lets
	// through as strings are read like numbers.
	Schema []byte
	// Batch is how many messages share a transaction at most (default 2000).
	Batch int
	// LookupP99 says how long lookups take right now, for a replay to slow down when they suffer; 0 when
	// there are none. Nil when nobody looks up in this process.
	LookupP99 func() time.Duration
	// Poll is how often the inbox is read without having been notified (default 1 s).
	Poll time.Duration

	Log     *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil registers nothing
	Trace   *trace.Tracer         // nil tells nobody
}

const (
	maxBatchBytes = 16 << 20
	// readTimeout and writeTimeout turn a network that was silently cut into an error.
	readTimeout  = 30 * time.Second
	writeTimeout = time.Minute
	// finishDeadline is how long a transaction in hand may go on after the end was asked for.
	finishDeadline = 5 * time.Second
)

// Projector is the stage. Make it with New.
type Projector struct {
	pool    *pgxpool.Pool
	box     *inbox.Inbox
	schema  *schema
	o       Options
	log     *slog.Logger
	metrics *metrics

	portion   retry.Portion    // of a batch
	projected *listen.Notifier // of those who follow
}

// New returns a projector of box, the log in pool's database. It needs five connections of the pool.
func New(pool *pgxpool.Pool, box *inbox.Inbox, o Options) (*Projector, error) {
	if o.Batch == 0 {
		o.Batch = 2000
	}
	if o.Poll == 0 {
		o.Poll = time.Second
	}
	if o.Batch < 1 || o.Poll < 0 {
		return nil, errors.New("projector: batch and poll must be positive")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	source := o.Schema
	if source == nil {
		source = orderSchema
	}
	s, err := newSchema(source)
	if err != nil {
		return nil, fmt.Errorf("projector: %w", err)
	}
	return &Projector{pool: pool, box: box, schema: s, o: o, log: o.Log.With("stage", "projector"),
		metrics: newMetrics(o.Metrics), projected: listen.NewNotifier(pool, notifications, o.Log.With("stage", "projector"))}, nil
}

// Run projects until ctx ends, for as long as the database takes to come back: into the generation in
// service, and into the next one while a replay is under way. Of each it stands by while another process
// projects into it. It returns nil after the transactions in hand have ended.
func (p *Projector) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	woken := make(chan struct{}, 1) // something may have been appended
	g.Go(func() error {
		listen.Run(ctx, p.pool, inbox.Notifications, p.o.Poll, p.log, woken)
		return nil
	})
	g.Go(func() error {
		retry.Forever(ctx, p.log, "project", func(ctx context.Context, works func()) error { return p.serve(ctx, works, woken) })
		return nil
	})
	g.Go(func() error {
		p.Build(ctx)
		return nil
	})
	return g.Wait()
}

// Leads says whether this process is the one that projects into the generation in service. One that lost its connection
// may take as long to notice as a transaction may take, and cannot write meanwhile. It may be called concurrently.
func (p *Projector) Leads() bool { return p.metrics.leads.Load() }

// serve becomes the one projector of the generation in service, whichever that is, and works until ctx ends
// or the world fails.
func (p *Projector) serve(ctx context.Context, works func(), woken <-chan struct{}) error {
	conn, err := lead(ctx, p.pool, "orderbox projector", projectorSilence, works)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	p.metrics.leads.Store(true)
	defer p.metrics.leads.Store(false)
	more := func(ctx context.Context) error {
		select {
		case <-woken:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		x, err := p.openCurrent(ctx, conn)
		if err != nil {
			return err
		}
		works()
		p.log.Info("projecting", "generation", x.gen.name, "checkpoint", x.checkpoint)
		if err := x.run(ctx, more, x.rest); !errors.Is(err, errReplaced) {
			return err
		}
	}
}

func (p *Projector) openCurrent(ctx context.Context, conn *pgx.Conn) (*projection, error) {
	opening, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	gen, err := p.deploy(opening, conn)
	if err != nil {
		return nil, err
	}
	if gen.fingerprint != fingerprint() {
		return nil, fmt.Errorf("%s, in service, was made by another version: start that one, or build one of this version's with orderbox replay", gen.name)
	}
	x, err := p.open(opening, conn, gen)
	if err == nil {
		x.progress = func() { p.metrics.checkpoint.Set(float64(x.checkpoint)) }
		x.progress() // perhaps there is nothing to project for long
	}
	return x, err
}

// Nobody is held up to find out that there is nothing to do.
const restSQL = `
select g.state, exists (select from decisions as d where d.id > c.decision)
from generations as g
cross join checkpoint as c
where g.name = $1`

// rest is what the projector of the generation in service does when there is nothing to project.
func (x *projection) rest(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, leadTimeout)
	defer cancel()
	var undecided bool
	if err := x.guard(x.conn.QueryRow(ctx, restSQL, x.gen.name), &undecided); err != nil || !undecided {
		return false, err
	}
	return false, pgx.BeginFunc(ctx, x.conn, func(tx pgx.Tx) error {
		if err := x.guard(tx.QueryRow(ctx, guardSQL, x.gen.name)); err != nil {
			return err
		}
		return decide(ctx, tx)
	})
}
