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
)

const (
	// projectionChannel is where the projector notifies after a commit.
	projectionChannel = "orderbox_projection"
	// chunkOrders bounds what one transaction reads, and with it the memory that decoding takes.
	chunkOrders = 5000
	// chunkTimeout is how long a silent network passes for a slow database; TCP alone takes minutes.
	chunkTimeout = 15 * time.Second
)

// follower fills a cache and keeps it up to date. One goroutine runs it; what others ask for is atomic.
type follower struct {
	pool  *pgxpool.Pool
	log   *slog.Logger
	poll  time.Duration
	chunk int           // orders in one transaction
	limit time.Duration // of one transaction

	serving    atomic.Pointer[cache]
	checkpoint atomic.Int64              // as last read
	fitAt      atomic.Pointer[time.Time] // when serving was last known to be what it should be

	// next is being filled to take serving's place; nil when serving itself is followed.
	next *cache
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

// read takes the next chunk of orders into the cache, at boot as at any time after. More says that there
// is a chunk after it.
//
// What was read of a chunk that fails half-way stays: each order is complete when it is added.
func (f *follower) read(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.limit)
	defer cancel()
	err = inGeneration(ctx, f.pool, func(tx pgx.Tx, g generation) error {
		checkpoint, err := readCheckpoint(ctx, tx)
		if err != nil {
			return err
		}
		f.checkpoint.Store(checkpoint)
		c := f.choose(g, checkpoint)
		if more, err = fill(ctx, tx, c, checkpoint, f.chunk); err != nil {
			return fmt.Errorf("read orders after position %d: %w", c.position.Load(), err)
		}
		if !more {
			f.reached(c)
		} else if c == f.next {
			f.fit() // what is in service stays the best there is while its successor is read
		}
		return nil
	})
	if errors.Is(err, errNoGeneration) {
		return false, nil // not a fault: the first projector is still to come
	}
	return more, err
}

// choose returns the cache that a generation goes into.
func (f *follower) choose(g generation, checkpoint int64) *cache {
	serving := f.serving.Load()
	// A checkpoint goes back only when the database does, to a backup or a replica that lags: what was
	// read after it may not be so any more.
	holds := func(c *cache) bool {
		return c != nil && c.generation == g && c.position.Load() <= checkpoint
	}
	switch {
	case holds(serving):
		f.next = nil
		return serving
	case holds(f.next):
		return f.next
	}
	c := newCache(g, nil)
	f.log.Info("filling the cache", "generation", g.name, "checkpoint", checkpoint)
	if serving.complete.Load() {
		f.next = c
		return c
	}
	// Nothing complete answers yet, so what is there may as well.
	f.next = nil
	f.serving.Store(c)
	return c
}

// reached puts a cache that has read everything into service.
func (f *follower) reached(c *cache) {
	f.fit()
	if c.complete.Swap(true) {
		return
	}
	f.next = nil
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
// of the chunk. The end of the last one is the checkpoint: most positions may be no orders.
func fill(ctx context.Context, tx pgx.Tx, c *cache, checkpoint int64, size int) (more bool, err error) {
	begin := c.position.Load()
	if begin == checkpoint {
		return false, nil
	}
	var end int64
	if err := tx.QueryRow(ctx, endOfChunkSQL, begin, checkpoint, size-1).Scan(&end); err != nil {
		return false, err
	}
	// Asked for both at once, the database goes on with the items while the orders are decoded.
	batch := &pgx.Batch{}
	batch.Queue(readOrdersSQL, begin, end)
	batch.Queue(readItemsSQL, begin, end)
	answers := tx.SendBatch(ctx, batch)
	defer answers.Close()
	chunk, err := readOrders(answers)
	if err != nil {
		return false, err
	}
	err = readItems(answers, chunk, func(r row) { c.add(r.position, r.order.OrderUID, r.order.JSON()) })
	if err != nil {
		return false, err
	}
	c.position.Store(end)
	return end < checkpoint, nil
}

// row is an order on its way into the cache.
type row struct {
	position int64
	order    orderbox.Order
}

// The bounds are stated for each table, for the planner does not infer them.
const readOrdersSQL = `
select o.position,
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
		err = scanned.Scan(&r.position,
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
