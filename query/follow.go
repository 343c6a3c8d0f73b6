package query

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/listen"
	"orderbox/internal/retry"
	"orderbox/internal/trace"
)

const (
	// projectionChannel is where the projector notifies after a commit.
	projectionChannel = "orderbox_projection"
	// chunkOrders bounds what one transaction reads, and with it the memory that decoding takes.
	chunkOrders = 5000
	// chunkTimeout is how long a silent network passes for a slow database; TCP alone takes minutes.
	chunkTimeout = 15 * time.Second
	// nextOrders bounds a chunk of the generation that is being built: new orders of the one in service
	// may have to wait for it.
	nextOrders = 1000
	// nextPause is how long that generation is left alone after it could not be read.
	nextPause = 10 * time.Second
)

// follower fills a cache and keeps it up to date. One goroutine runs it; what others ask for is atomic.
type follower struct {
	pool  *pgxpool.Pool
	log   *slog.Logger
	poll  time.Duration
	chunk int           // orders in one transaction
	limit time.Duration // of one transaction
	bytes int64         // limit of each cache; 0 is none
	trace *trace.Tracer // nil tells nobody

	primary *primary // nil when the pool's database is the primary

	serving    atomic.Pointer[cache]
	checkpoint atomic.Int64              // as last read
	fitAt      atomic.Pointer[time.Time] // when serving was last known to be what it should be

	// next is being filled to take serving's place; nil when there is nothing that would. It is of the
	// generation that is being built, or of the current one when that was not followed while it was built.
	next      atomic.Pointer[cache]
	nextAgain time.Time // not read before; the follower's alone
}

// newFollower returns a follower that reads from pool, a standby's if primaries is not nil.
func newFollower(pool, primaries *pgxpool.Pool, log *slog.Logger, poll time.Duration) *follower {
	f := &follower{pool: pool, log: log, poll: poll, chunk: chunkOrders, limit: chunkTimeout}
	if primaries != nil {
		f.primary = &primary{pool: primaries}
	}
	f.serving.Store(newCache(generation{}, nil)) // empty and not complete, until there is a generation
	return f
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	wake := make(chan struct{}, 1)
	var group sync.WaitGroup
	defer group.Wait()
	announcing, poll := f.pool, f.poll
	if f.primary != nil {
		announcing, poll = f.primary.pool, 10*f.poll // the looks at the standby are the poll
		_ = f.primary.ask(ctx)                       // before anything is read; watch tells an error
		group.Go(func() { f.watch(ctx) })
	}
	group.Go(func() {
		listen.Run(ctx, announcing, projectionChannel, poll, f.log, wake)
	})
	retry.Forever(ctx, f.log, "follow the projection", func(ctx context.Context, works func()) error {
		look := firstLook
		for {
			more, err := f.read(ctx)
			if err != nil {
				f.pool.Reset() // a connection keeps what was wrong when it was made, such as a setting of its role
				return err
			}
			works()
			if more {
				continue
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-wake:
				look = firstLook
			case <-f.again(look):
				look = min(2*look, f.poll)
			}
		}
	})
}

// read takes the next chunk of the current generation into its cache, at boot as at any time after, and
// when that has no more, the next chunk of the generation that is being built. More says that there is a
// chunk after it.
//
// Both are read on one snapshot. There the generation that next is filled from is either being built or
// already current: a switch never makes it look as if it were gone.
//
// What was read of a chunk that fails half-way stays: each order is complete when it is added.
func (f *follower) read(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.limit)
	defer cancel()
	err = besideGeneration(ctx, f.pool, func(tx pgx.Tx, current generation, building *generation) error {
		if err := f.locate(ctx, tx); err != nil {
			return err
		}
		if more, err = f.follow(ctx, tx, current); more || err != nil {
			return err
		}
		more, err = f.prepare(ctx, tx, building)
		return err
	})
	return more, unlessNone(err)
}

// follow takes the next chunk of the current generation.
func (f *follower) follow(ctx context.Context, tx pgx.Tx, g generation) (more bool, err error) {
	serving := f.serving.Load()
	c, checkpoint, err := f.resume(ctx, tx, g, serving, f.next.Load())
	if err != nil {
		return false, err
	}
	f.checkpoint.Store(checkpoint)
	switch {
	case !serving.complete.Load():
		f.serving.Store(c) // nothing complete answers yet, so what is there may as well
	case c != serving:
		f.next.Store(c)
	}
	following, before, began := serving.complete.Load() && c == serving, c.position.Load(), time.Now()
	more, err = fill(ctx, tx, c, checkpoint, f.chunk)
	if following && f.trace != nil {
		f.trace.Shown(f.pool, began, c.after(before))
	}
	switch {
	case err != nil:
		return false, fmt.Errorf("read orders after position %d: %w", c.position.Load(), err)
	case !more:
		f.reached(c)
	case c != f.serving.Load():
		f.fit() // what is in service stays the best there is while its successor is read
	}
	return more, nil
}

// Whoever builds a generation may hold locks on its tables for long, or not have made their indexes yet.
const hurrySQL = `
select set_config('lock_timeout', '100ms', true), set_config('statement_timeout', '2s', true),
    set_config('search_path', quote_ident($1) || ', public', true)`

// prepare takes the next chunk of the generation that is being built, if there is one, so that next has read nearly all of
// it when it becomes the current one. Until then next is never complete.
//
// That it cannot be read is not an error: it may be one of another version's, whose tables this program
// does not know, and the current one is to be followed no more slowly for that. What is wrong with the
// connection comes out with the end of the transaction.
func (f *follower) prepare(ctx context.Context, tx pgx.Tx, g *generation) (more bool, err error) {
	if g == nil {
		f.next.Store(nil)
		return false, nil
	}
	if time.Now().Before(f.nextAgain) {
		return false, nil
	}
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, hurrySQL, g.name); err != nil {
			return err
		}
		c, checkpoint, err := f.resume(ctx, tx, *g, f.next.Load())
		if err != nil {
			return err
		}
		f.next.Store(c)
		more, err = fill(ctx, tx, c, checkpoint, min(f.chunk, nextOrders))
		return err
	})
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		f.nextAgain = time.Now().Add(nextPause)
		f.log.Warn("cannot read the generation that is being built", "generation", g.name, "error", err)
		return false, nil
	}
	return more, nil
}

// resume returns the first of the caches, which may be nil, that agrees with what the generation has up to that
// cache's position, or an empty one when none does; and the generation's checkpoint.
func (f *follower) resume(ctx context.Context, tx pgx.Tx, g generation, caches ...*cache) (*cache, int64, error) {
	for _, c := range caches {
		if c == nil || c.generation != g {
			continue
		}
		checkpoint, holds, err := c.holds(ctx, tx)
		if holds || err != nil {
			return c, checkpoint, err
		}
	}
	checkpoint, err := readCheckpoint(ctx, tx)
	if err != nil {
		return nil, 0, err
	}
	c, err := begin(ctx, tx, g, f.bytes)
	if err != nil {
		return nil, 0, err
	}
	f.log.Info("filling a cache", "generation", g.name, "checkpoint", checkpoint, "from", c.position.Load())
	return c, checkpoint, nil
}

// The last order up to a position says whether what was read up to there is still so. More need not be
// compared: the log only grows, so a database that lost anything lost its end.
const readProgressSQL = `
select c.position, coalesce(o.position, 0), o.digest
from checkpoint as c
left join lateral (
    select position, digest
    from orders
    where position <= $1
    order by position desc
    limit 1) as o on true`

// holds says whether the generation, whose tables tx has chosen, still has what was read of it, and its
// checkpoint.
//
// It has not after the database went back, to a backup or to a replica that lagged. The checkpoint alone
// does not tell: by the time it is read it may have passed its old place again, with other messages. One
// that went back over messages which were no orders does no harm: the next chunk takes the position back.
func (c *cache) holds(ctx context.Context, tx pgx.Tx) (checkpoint int64, holds bool, err error) {
	var last mark
	err = tx.QueryRow(ctx, readProgressSQL, c.position.Load()).Scan(&checkpoint, &last.position, &last.digest)
	if err != nil {
		return 0, false, fmt.Errorf("compare the cache with the projection: %w", err)
	}
	return checkpoint, last.equal(c.last), nil
}

// reached puts a cache that has read everything into service.
func (f *follower) reached(c *cache) {
	if f.isAll(c) {
		f.fit()
	}
	if c.complete.Swap(true) {
		return
	}
	f.next.CompareAndSwap(c, nil)
	f.serving.Store(c)
	orders, bytes := c.size()
	f.log.Info("cache filled", "generation", c.generation.name, "orders", orders, "bytes", bytes, "left_out", c.leftOut())
}

func (f *follower) fit() {
	now := time.Now()
	f.fitAt.Store(&now)
}
