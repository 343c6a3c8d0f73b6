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
)

// Options are how the projector works; the zero value is good.
type Options struct {
	// Batch is how many messages share a transaction at most (default 2000).
	Batch int
	// Poll is how often the inbox is read without having been notified (default 1 s).
	Poll time.Duration

	Log     *slog.Logger          // nil discards
	Metrics prometheus.Registerer // nil registers nothing
}

const (
	maxBatchBytes = 32 << 20
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
	woken   chan struct{} // capacity one: something may have been appended
}

// New returns a projector of box, the log in pool's database. It needs three connections of the pool.
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
	s, err := newSchema(orderSchema)
	if err != nil {
		return nil, fmt.Errorf("projector: %w", err)
	}
	return &Projector{pool: pool, box: box, schema: s, o: o, log: o.Log.With("stage", "projector"),
		metrics: newMetrics(o.Metrics), woken: make(chan struct{}, 1)}, nil
}

// Run projects until ctx ends, for as long as the database takes to come back, and stands by while
// another process projects. It returns nil after the transaction in hand has ended.
func (p *Projector) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		listen.Run(ctx, p.pool, inbox.Notifications, p.o.Poll, p.log, p.woken)
		return nil
	})
	g.Go(func() error {
		retry.Forever(ctx, p.log, "project", p.lead)
		return nil
	})
	return g.Wait()
}

// lead becomes the one projector and works until ctx ends or the world fails.
func (p *Projector) lead(ctx context.Context, works func()) error {
	conn, err := lead(ctx, p.pool, works)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	opening, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	gen, err := openGeneration(opening, conn)
	if err != nil {
		return err
	}
	var checkpoint int64
	if err := conn.QueryRow(opening, checkpointSQL).Scan(&checkpoint); err != nil {
		return fmt.Errorf("read the checkpoint: %w", err)
	}
	works()
	p.log.Info("projecting", "generation", gen.name, "in_service", gen.current, "checkpoint", checkpoint)
	p.metrics.leading.Set(1)
	defer p.metrics.leading.Set(0)

	batches := make(chan []judgement, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(batches)
		return p.read(ctx, checkpoint, batches)
	})
	g.Go(func() error { return p.follow(ctx, conn, &gen, checkpoint, batches) })
	return g.Wait()
}

// read sends the judged entries after a position, and an empty batch whenever it has caught up.
func (p *Projector) read(ctx context.Context, after int64, batches chan<- []judgement) error {
	for {
		reading, cancel := context.WithTimeout(ctx, readTimeout)
		entries, err := p.box.Read(reading, after, p.o.Batch, maxBatchBytes)
		cancel()
		if err != nil {
			return err
		}
		select {
		case batches <- p.schema.judgeAll(entries):
		case <-ctx.Done():
			return ctx.Err()
		}
		if len(entries) > 0 {
			after = entries[len(entries)-1].Position
			continue
		}
		select {
		case <-p.woken:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follow writes the batches.
func (p *Projector) follow(ctx context.Context, conn *pgx.Conn, gen *generation, checkpoint int64, batches <-chan []judgement) error {
	for judged := range batches {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := p.advance(ctx, conn, gen, &checkpoint, judged); err != nil {
			return err
		}
		p.metrics.checkpoint.Set(float64(checkpoint))
	}
	return nil
}

func (p *Projector) advance(ctx context.Context, conn *pgx.Conn, gen *generation, checkpoint *int64, judged []judgement) (err error) {
	if len(judged) > 0 {
		*checkpoint, err = p.project(ctx, conn, *checkpoint, judged)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, leadTimeout)
	defer cancel()
	if gen.current {
		// Nothing to write: make sure that the lock's connection still lives.
		return conn.Ping(ctx)
	}
	p.log.Info("caught up, putting the generation in service", "generation", gen.name, "checkpoint", *checkpoint)
	return gen.serve(ctx, conn)
}
