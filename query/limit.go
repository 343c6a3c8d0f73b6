package query

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/jackc/pgx/v5"
)

const (
	// limitSlabs is into how many slabs a limit is divided at least: the oldest goes whole.
	limitSlabs = 32
	// fetchedShare is the part of a limit that is for orders which the database was asked for.
	fetchedShare = 10
	// orderOverhead is what an order costs beside its record, at most: its place twice, and its share of the index.
	orderOverhead = 48
	// leastHeld is how many orders are held whatever the limit: those that the home page and the events list.
	leastHeld = latestOnPage
	// sampleOrders is of how many of the newest orders the size is looked at to guess how many will fit.
	sampleOrders = 100
)

// limitTo makes an empty cache one that holds so many bytes, of the newest orders. It may be a slab more for a moment.
func (c *cache) limitTo(bytes int64) {
	c.fetched = newFetched(bytes / fetchedShare)
	c.limit = bytes - bytes/fetchedShare
	c.slab = int(min(slabBytes, max(1, c.limit/limitSlabs)))
}

// holdsAll says whether no order up to the cache's position was left out. Asked behind a search that found nothing, it says
// that there was nothing.
func (c *cache) holdsAll() bool { return !c.partial.Load() }

// makeRoom drops the oldest slabs until there is room for another, of so many bytes. A reader waits for one order to
// be dropped at most, and keeps the bytes that it was given.
//
// Numbers of slabs and of orders are not used again. What remains of a slab that was dropped are the 24 bytes that said
// where it was.
func (c *cache) makeRoom(bytes int64) {
	for c.first < c.count && c.bytes+bytes+orderOverhead*int64(c.count-c.first) > c.limit {
		oldest := c.place(c.first) >> 32
		held := sort.Search(c.count-c.first, func(i int) bool { return c.place(c.first+i)>>32 > oldest })
		if c.count-c.first-held < leastHeld {
			return
		}
		c.partial.Store(true)
		for range held {
			c.drop()
		}
		c.mu.Lock()
		c.bytes -= int64(len(c.slabs[oldest]))
		c.slabs[oldest] = nil
		c.mu.Unlock()
	}
}

// drop forgets the oldest order, whose slab is still there.
func (c *cache) drop() {
	at := c.place(c.first)
	uid := c.record(at).uid()
	hash := c.hash(uid)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.index[hash] == at {
		delete(c.index, hash)
	} else {
		delete(c.collided, uid)
	}
	if c.first++; c.first%blockOrders == 0 {
		c.blocks[c.first/blockOrders-1] = nil
	}
}

// One order more than fit says where those that do begin. The inner select reads nothing but the index.
const readBeginningSQL = `
select o.position, o.digest, c.orders
from orders as o
cross join checkpoint as c
where o.position = (
    select position
    from orders
    order by position desc
    offset $1
    limit 1)`

// begin returns an empty cache of the generation whose tables tx has chosen. Without a limit it begins with the first order. With
// one it begins with so many of the newest as are going to fit, as far as their size can be told from that of the very newest; if
// more come than do, the oldest go.
func begin(ctx context.Context, tx pgx.Tx, g generation, limit int64) (*cache, error) {
	c := newCache(g, nil)
	if limit == 0 {
		return c, nil
	}
	c.limitTo(limit)
	sample, err := readLatest(ctx, tx, maxPosition, sampleOrders)
	if err != nil {
		return nil, fmt.Errorf("weigh the newest orders: %w", err)
	}
	orders, bytes := sample.size()
	if orders == 0 {
		return c, nil
	}
	fitting := max(leastHeld, int(c.limit/(bytes/int64(orders)+orderOverhead)))
	var all int
	err = tx.QueryRow(ctx, readBeginningSQL, fitting).Scan(&c.last.position, &c.last.digest, &all)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find where the newest %d orders begin: %w", fitting, err)
	}
	c.below = max(0, all-fitting)
	c.partial.Store(true)
	c.position.Store(c.last.position)
	return c, nil
}
