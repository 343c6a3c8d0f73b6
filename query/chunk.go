package query

import (
	"context"

	"github.com/jackc/pgx/v5"
)

const (
	// A chunk is asked for in parts, of so many positions or more: at most so many parts.
	partPositions = 500
	maxParts      = 10
)

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
	if err := readBetween(ctx, tx, c, begin, end); err != nil {
		return false, err
	}
	c.position.Store(end)
	return end < checkpoint, nil
}

// readBetween adds the orders behind one position up to another.
//
// Asked for all at once, the database goes on with the next part while one is decoded: what it sends meanwhile waits in
// the connection, which holds a part and not a chunk.
func readBetween(ctx context.Context, tx pgx.Tx, c *cache, begin, end int64) error {
	parts := min(maxParts, 1+max(0, end-begin)/partPositions) // the end may be before the beginning
	bound := func(part int64) int64 { return begin + (end-begin)*part/parts }
	batch := &pgx.Batch{}
	batch.Queue(mergeSQL)
	for part := range parts {
		batch.Queue(readOrdersSQL, bound(part), bound(part+1))
		batch.Queue(readItemsSQL, bound(part), bound(part+1))
	}
	answers := tx.SendBatch(ctx, batch)
	defer answers.Close()
	if _, err := answers.Exec(); err != nil {
		return err
	}
	var p chunkPart
	for range parts {
		if err := p.read(answers, c); err != nil {
			return err
		}
	}
	return nil
}

// mergeSQL has the tables be read side by side in the order of their indexes, by a plan that is made once. The planner
// knows nothing of a generation that was just built, and of one that it knows it takes so few orders to be between two
// bounds that it looks each up, which takes twice as long; and to plan takes as long as to read a small part.
const mergeSQL = `
select set_config('enable_nestloop', 'off', true), set_config('enable_seqscan', 'off', true),
    set_config('enable_bitmapscan', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)`

// The columns behind the first three are the model's fields but the items, in its order. The bounds are stated for each
// table, for the planner does not infer them.
const readOrdersSQL = `
select o.position, o.digest, o.order_uid,
    o.order_uid, o.track_number, o.entry,
    d.name, d.phone, d.zip, d.city, d.address, d.region, d.email,
    p.transaction, p.request_id, p.currency, p.provider, p.amount, p.payment_dt, p.bank, p.delivery_cost,
    p.goods_total, p.custom_fee,
    o.locale, o.internal_signature, o.customer_id, o.delivery_service, o.shardkey, o.sm_id,
    o.date_created_text, o.oof_shard
from orders as o
join deliveries as d on d.position = o.position
join payments as p on p.position = o.position
where o.position > $1 and o.position <= $2
    and d.position > $1 and d.position <= $2
    and p.position > $1 and p.position <= $2
order by o.position`

// The columns behind the first are the model's fields of an item.
const readItemsSQL = `
select position, chrt_id, track_number, price, rid, name, sale, size, total_price, nm_id, brand, status
from items
where position > $1 and position <= $2
order by position, line`

// chunkPart reads some orders at once. Read into again, it needs no memory but what it has: beside a cache that is never garbage,
// the collector comes too seldom to give any back.
type chunkPart struct {
	orders       []half
	heads, tails []byte // of all of them
	item         []byte // that was read last
	items, body  []byte // of the order that is being put together
}

// half is an order without its items.
type half struct {
	mark
	uid        string
	head, tail []byte // its JSON before the items and behind them
}

// read reads the next part and adds its orders, each as soon as it is complete, so that encoding goes on while the
// database sends.
func (p *chunkPart) read(answers pgx.BatchResults, c *cache) error {
	if err := p.readOrders(answers); err != nil {
		return err
	}
	return p.readItems(answers, c)
}

func (p *chunkPart) readOrders(answers pgx.BatchResults) error {
	rows, err := answers.Query()
	if err != nil {
		return err
	}
	p.orders, p.heads, p.tails = p.orders[:0], p.heads[:0], p.tails[:0]
	var h half
	var head, tail int // where this one begins
	into := append([]any{&h.position, &h.digest, &h.uid}, orderHead.columns(&p.heads)...)
	_, err = pgx.ForEachRow(rows, append(into, orderTail.columns(&p.tails)...), func() error {
		p.heads, p.tails = append(p.heads, orderHead.after...), append(p.tails, orderTail.after...)
		h.head, h.tail = p.heads[head:], p.tails[tail:] // which stay where they are when there are more
		head, tail = len(p.heads), len(p.tails)
		p.orders = append(p.orders, h)
		return nil
	})
	return err
}

func (p *chunkPart) readItems(answers pgx.BatchResults, c *cache) error {
	rows, err := answers.Query()
	if err != nil {
		return err
	}
	left := p.orders
	complete := func() {
		o := &left[0]
		p.body = append(append(append(p.body[:0], o.head...), p.items...), o.tail...)
		c.add(o.position, o.uid, p.body)
		c.last = o.mark
		p.items, left = p.items[:0], left[1:]
	}
	var position int64
	_, err = pgx.ForEachRow(rows, append([]any{&position}, orderItem.columns(&p.item)...), func() error {
		for left[0].position < position {
			complete()
		}
		if len(p.items) > 0 {
			p.items = append(p.items, ',')
		}
		p.items = append(append(p.items, p.item...), orderItem.after...)
		p.item = p.item[:0]
		return nil
	})
	if err != nil {
		return err
	}
	for len(left) > 0 {
		complete()
	}
	return nil
}
