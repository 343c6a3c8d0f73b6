package query

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
)

const (
	// maxFetches bounds the questions about orders that the database is asked at a time, whoever and however many wait: the
	// follower needs connections as well, and the database some rest.
	maxFetches = 4
	// maxFetched bounds the answers that were not in memory and are being waited for or sent, so that slow clients of large orders
	// cannot fill it. A list counts as so many orders.
	maxFetched, fetchedList = 64, 32
	// fetchTimeout is how long somebody waits for a place among those, and again for the turn and the answer.
	fetchTimeout = 2 * time.Second
	// fetchedOverhead is what an order costs in the cache of what was fetched, beside its bytes.
	fetchedOverhead = 256
)

// fetched holds orders that the database was asked for, those that are asked for again and again the longest.
type fetched = otter.Cache[string, entry]

func newFetched(bytes int64) *fetched {
	return otter.Must(&otter.Options[string, entry]{
		MaximumWeight: uint64(max(1, bytes)),
		Weigher: func(uid string, e entry) uint32 {
			return uint32(len(uid) + len(e.body) + len(e.etag) + fetchedOverhead)
		},
	})
}

// fetcher asks the database for orders that a cache does not hold, because it leaves them out or has not come to them yet.
// They come as the same bytes, read by the code that fills the caches.
type fetcher struct {
	f       *follower
	answers *semaphore.Weighted // maxFetched
	asking  *semaphore.Weighted // maxFetches
	flights singleflight.Group  // those who ask for the same order at a time are told the same

	waiting                     atomic.Int64 // for an answer
	kept, found, absent, failed atomic.Int64 // how many were answered from what was fetched before, and by the database; or not
}

func newFetcher(f *follower) *fetcher {
	return &fetcher{f: f, answers: semaphore.NewWeighted(maxFetched), asking: semaphore.NewWeighted(maxFetches)}
}

// answered is what the database says about an order.
type answered struct {
	entry
	ok bool
}

// order returns an order that c did not hold, and whether there is one; sent is to be called when it has been sent. Which
// generation it is of is decided by the database, as it is for who asks next: c may be of the one before.
func (o *fetcher) order(ctx context.Context, c *cache, uid string) (e entry, ok bool, err error) {
	if err := o.enter(ctx, 1); err != nil {
		return entry{}, false, err
	}
	defer func() {
		if !ok {
			o.sent(1)
		}
	}()
	o.waiting.Add(1)
	defer o.waiting.Add(-1)
	if c.fetched != nil {
		if e, ok := c.fetched.GetIfPresent(uid); ok {
			o.kept.Add(1)
			return e, true, nil
		}
	}
	// It goes on when the client leaves, for others may wait for the same.
	a, err, _ := o.flights.Do(uid, func() (any, error) {
		var a answered
		err := o.ask(context.WithoutCancel(ctx), func(ctx context.Context, tx pgx.Tx, g generation) (err error) {
			if a.entry, a.ok, err = readOrder(ctx, tx, uid); a.ok && c.fetched != nil && g == c.generation {
				c.fetched.Set(uid, a.entry)
			}
			return err
		})
		return a, err
	})
	if err = o.count(err, a.(answered).ok); err != nil {
		return entry{}, false, err
	}
	return a.(answered).entry, a.(answered).ok, nil
}

// latest returns what cache.latest would if it held all orders; sent is to be called when they have been sent.
func (o *fetcher) latest(ctx context.Context, before int64, limit int) (entries []entry, err error) {
	if err := o.enter(ctx, fetchedList); err != nil {
		return nil, err
	}
	o.waiting.Add(1)
	defer o.waiting.Add(-1)
	err = o.ask(ctx, func(ctx context.Context, tx pgx.Tx, _ generation) error {
		page, err := readLatest(ctx, tx, before, limit)
		if err == nil {
			entries = page.latest(0, limit)
		}
		return err
	})
	if err = o.count(err, true); err != nil {
		o.sent(fetchedList)
		return nil, err
	}
	return entries, nil
}

// enter waits for places among the answers, which sent gives back.
func (o *fetcher) enter(ctx context.Context, places int64) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	o.waiting.Add(1)
	defer o.waiting.Add(-1)
	if err := o.answers.Acquire(ctx, places); err != nil {
		return o.count(crowded(err), false)
	}
	return nil
}

func (o *fetcher) sent(places int64) { o.answers.Release(places) }

// ask waits for its turn and runs f on one snapshot of the current generation's tables.
func (o *fetcher) ask(ctx context.Context, f func(ctx context.Context, tx pgx.Tx, g generation) error) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	if err := o.asking.Acquire(ctx, 1); err != nil {
		return crowded(err)
	}
	defer o.asking.Release(1)
	return inGeneration(ctx, o.f.pool, func(tx pgx.Tx, g generation) error {
		if err := o.f.locate(ctx, tx); err != nil {
			return err
		}
		return f(ctx, tx, g)
	})
}

// count counts an outcome and returns the error.
func (o *fetcher) count(err error, found bool) error {
	switch {
	case err != nil:
		o.failed.Add(1)
	case found:
		o.found.Add(1)
	default:
		o.absent.Add(1)
	}
	return err
}

// errCrowded says that others took all the time there was.
var errCrowded = errors.New("too many ask the database")

func crowded(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errCrowded
	}
	return err
}

// notFetched is what a client is told when the database was to be asked and did not answer.
func notFetched(err error) error {
	switch {
	case errors.Is(err, errCrowded):
		return unavailable("This is not in memory, and too many ask the database for orders right now.")
	case errors.Is(err, errForeign), databaseAway(err):
		return unavailable("This is not in memory, and the database did not answer in time.")
	}
	return err
}

const findOrderSQL = `
select position
from orders
where order_uid = $1`

// readOrder returns the order with that uid of the generation whose tables tx has chosen.
func readOrder(ctx context.Context, tx pgx.Tx, uid string) (entry, bool, error) {
	var position int64
	err := tx.QueryRow(ctx, findOrderSQL, uid).Scan(&position)
	if errors.Is(err, pgx.ErrNoRows) {
		return entry{}, false, nil
	}
	if err != nil {
		return entry{}, false, fmt.Errorf("find an order: %w", err)
	}
	c := newSmallCache(1)
	if err := readBetween(ctx, tx, c, position-1, position); err != nil {
		return entry{}, false, fmt.Errorf("read the order at position %d: %w", position, err)
	}
	e, ok := c.get(uid)
	return e, ok, nil
}

// The last page may have no orders at all.
const findLatestSQL = `
select coalesce(min(position), 1), coalesce(max(position), 0)
from (
    select position
    from orders
    where position < $1
    order by position desc
    limit $2) as page`

// readLatest returns a cache of at most limit orders whose position is below before, the newest.
func readLatest(ctx context.Context, tx pgx.Tx, before int64, limit int) (*cache, error) {
	c := newSmallCache(limit)
	var first, last int64
	if err := tx.QueryRow(ctx, findLatestSQL, before, limit).Scan(&first, &last); err != nil {
		return nil, fmt.Errorf("find the latest orders: %w", err)
	}
	if last == 0 {
		return c, nil
	}
	if err := readBetween(ctx, tx, c, first-1, last); err != nil {
		return nil, fmt.Errorf("read the orders from position %d to %d: %w", first, last, err)
	}
	return c, nil
}

// newSmallCache returns a cache for a few orders, which takes hardly more memory than they do.
func newSmallCache(orders int) *cache {
	c := newCache(generation{}, nil)
	c.slab, c.blocks = 0, [][]place{make([]place, 0, orders)} // each order has a slab of its own
	return c
}
