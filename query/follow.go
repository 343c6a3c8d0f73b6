package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox"
	"orderbox/internal/listen"
	"orderbox/internal/retry"
	"orderbox/internal/trace"
)

const (
	// projectionChannel is where the projector notifies after a commit.
	projectionChannel = "orderbox_projection"
	// chunkOrders bounds what one transaction reads, and with it the memory that decoding takes.
	chunkOrders = 5000
	// A chunk is asked for in parts, of so many positions or more: at most so many parts.
	partPositions = 500
	maxParts      = 10
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
	trace *trace.Tracer // nil tells nobody

	serving    atomic.Pointer[cache]
	checkpoint atomic.Int64              // as last read
	fitAt      atomic.Pointer[time.Time] // when serving was last known to be what it should be

	// next is being filled to take serving's place; nil when there is nothing that would. It is of the
	// generation that is being built, or of the current one when that was not followed while it was built.
	next      atomic.Pointer[cache]
	nextAgain time.Time // not read before; the follower's alone
}

func newFollower(pool *pgxpool.Pool, log *slog.Logger, poll time.Duration) *follower {
	f := &follower{pool: pool, log: log, poll: poll, chunk: chunkOrders, limit: chunkTimeout}
	f.serving.Store(newCache(generation{}, nil)) // empty and not complete, until there is a generation
	return f
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	wake := make(chan struct{}, 1)
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		listen.Run(ctx, f.pool, projectionChannel, f.poll, f.log, wake)
	})
	retry.Forever(ctx, f.log, "follow the projection", func(ctx context.Context, works func()) error {
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
	err = inGeneration(ctx, f.pool, func(tx pgx.Tx, g generation) error {
		if more, err = f.follow(ctx, tx, g); more || err != nil {
			return err
		}
		more, err = f.prepare(ctx, tx)
		return err
	})
	if errors.Is(err, errNoGeneration) {
		return false, nil // not a fault: the first projector is still to come
	}
	return more, err
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
select set_config('lock_timeout', '100ms', true), set_config('statement_timeout', '2s', true)`

// prepare takes the next chunk of the generation that is being built, so that next has read nearly all of
// it when it becomes the current one. Until then next is never complete.
//
// That it cannot be read is not an error: it may be one of another version's, whose tables this program
// does not know, and the current one is to be followed no more slowly for that. What is wrong with the
// connection comes out with the end of the transaction.
func (f *follower) prepare(ctx context.Context, tx pgx.Tx) (more bool, err error) {
	g, err := enterGeneration(ctx, tx, stateBuilding)
	if errors.Is(err, errNoGeneration) {
		f.next.Store(nil)
		return false, nil
	}
	if err != nil || time.Now().Before(f.nextAgain) {
		return false, err
	}
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, hurrySQL); err != nil {
			return err
		}
		c, checkpoint, err := f.resume(ctx, tx, g, f.next.Load())
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

// resume returns the first of the caches, which may be nil, that holds what the generation has up to that
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
	f.log.Info("filling a cache", "generation", g.name, "checkpoint", checkpoint)
	return newCache(g, nil), checkpoint, nil
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
	f.fit()
	if c.complete.Swap(true) {
		return
	}
	f.next.CompareAndSwap(c, nil)
	f.serving.Store(c)
	orders, bytes := c.size()
	f.log.Info("cache filled", "generation", c.generation.name, "orders", orders, "bytes", bytes)
}

func (f *follower) fit() {
	now := time.Now()
	f.fitAt.Store(&now)
}

// A chunk has a last position rather than a limit: between two bounds each table is read by its index,
// whatever the planner knows of it, and a generation that was just built has no statistics yet. Here a
// second bound would make it sort all the rest, and none is needed: no order is beyond the checkpoint.
const endOfChunkSQL = `
select coalesce((
    select position
    from orders
    where position > $1
    order by position
    offset $3
    limit 1), $2)`

// fill adds a chunk of at most size orders after the cache's position, and takes the position to the end
// of the chunk. The end of the last one is the checkpoint, be it before the position: most positions may be
// no orders.
func fill(ctx context.Context, tx pgx.Tx, c *cache, checkpoint int64, size int) (more bool, err error) {
	begin := c.position.Load()
	if begin == checkpoint {
		return false, nil
	}
	end := checkpoint
	if checkpoint-begin > int64(size) {
		if err := tx.QueryRow(ctx, endOfChunkSQL, begin, checkpoint, size-1).Scan(&end); err != nil {
			return false, err
		}
	}
	// Asked for all at once, the database goes on with the next part while one is decoded: what it sends meanwhile waits in
	// the connection, which holds a part and not a chunk.
	parts := min(maxParts, 1+max(0, end-begin)/partPositions) // the end may be before the beginning
	bound := func(part int64) int64 { return begin + (end-begin)*part/parts }
	batch := &pgx.Batch{}
	for part := range parts {
		batch.Queue(readOrdersSQL, bound(part), bound(part+1))
		batch.Queue(readItemsSQL, bound(part), bound(part+1))
	}
	answers := tx.SendBatch(ctx, batch)
	defer answers.Close()
	for range parts {
		orders, err := readOrders(answers)
		if err != nil {
			return false, err
		}
		err = readItems(answers, orders, func(r row) {
			c.add(r.position, r.order.OrderUID, r.order.JSON())
			c.last = mark{r.position, r.digest}
		})
		if err != nil {
			return false, err
		}
	}
	c.position.Store(end)
	return end < checkpoint, nil
}

// row is an order on its way into the cache.
type row struct {
	position int64
	digest   []byte
	order    orderbox.Order
}

// The bounds are stated for each table, for the planner does not infer them.
const readOrdersSQL = `
select o.position, o.digest,
    o.order_uid, o.track_number, o.entry, o.locale, o.internal_signature, o.customer_id, o.delivery_service,
    o.shardkey, o.sm_id, o.date_created_text, o.oof_shard,
    d.name, d.phone, d.zip, d.city, d.address, d.region, d.email,
    p.transaction, p.request_id, p.currency, p.provider, p.amount, p.payment_dt, p.bank, p.delivery_cost,
    p.goods_total, p.custom_fee
from orders as o
join deliveries as d on d.position = o.position
join payments as p on p.position = o.position
where o.position > $1 and o.position <= $2
    and d.position > $1 and d.position <= $2
    and p.position > $1 and p.position <= $2
order by o.position`

// readOrders returns the orders of a chunk, without their items.
func readOrders(answers pgx.BatchResults) ([]row, error) {
	rows, err := answers.Query()
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(scanned pgx.CollectableRow) (r row, err error) {
		o := &r.order
		o.Items = make([]orderbox.Item, 0, 1) // not nil, which JSON would call null
		d, p := &o.Delivery, &o.Payment
		err = scanned.Scan(&r.position, &r.digest,
			&o.OrderUID, &o.TrackNumber, &o.Entry, &o.Locale, &o.InternalSignature, &o.CustomerID, &o.DeliveryService,
			&o.ShardKey, &o.SmID, &o.DateCreated, &o.OofShard,
			&d.Name, &d.Phone, &d.Zip, &d.City, &d.Address, &d.Region, &d.Email,
			&p.Transaction, &p.RequestID, &p.Currency, &p.Provider, &p.Amount, &p.PaymentDT, &p.Bank, &p.DeliveryCost,
			&p.GoodsTotal, &p.CustomFee)
		return r, err
	})
}

const readItemsSQL = `
select position, chrt_id, track_number, price, rid, name, sale, size, total_price, nm_id, brand, status
from items
where position > $1 and position <= $2
order by position, line`

// readItems gives the orders of a chunk their items and hands each on as soon as it is complete, so that
// encoding goes on while the database sends.
func readItems(answers pgx.BatchResults, chunk []row, complete func(row)) error {
	rows, err := answers.Query()
	if err != nil {
		return err
	}
	var position int64
	var i orderbox.Item
	fields := []any{&position, &i.ChrtID, &i.TrackNumber, &i.Price, &i.RID, &i.Name, &i.Sale, &i.Size, &i.TotalPrice,
		&i.NmID, &i.Brand, &i.Status}
	_, err = pgx.ForEachRow(rows, fields, func() error {
		for chunk[0].position < position {
			complete(chunk[0])
			chunk[0] = row{} // or all the items of the chunk would be in memory
			chunk = chunk[1:]
		}
		chunk[0].order.Items = append(chunk[0].order.Items, i)
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range chunk {
		complete(r)
	}
	return nil
}
