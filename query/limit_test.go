package query

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// newLimited returns a cache with a limit.
func newLimited(limit int64, hash func(string) uint64) *cache {
	c := newCache(generation{}, hash)
	c.limitTo(limit)
	return c
}

func TestLimitedCacheHoldsTheNewestOrders(t *testing.T) {
	t.Parallel()
	const orders, limit = 3*blockOrders + 1, 1 << 20
	for name, hash := range map[string]func(string) uint64{
		"each hash apart": nil,
		"many collide":    func(uid string) uint64 { return uint64(len(uid)) + uint64(uid[len(uid)-1]) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newLimited(limit, hash)
			for i := int64(1); i <= orders; i++ {
				c.add(3*i, fmt.Sprint("uid", i), bytes.Repeat([]byte{byte(i)}, 100+int(i%50)))
				if held, bytes := c.size(); bytes+orderOverhead*int64(held) > limit {
					t.Fatalf("%d orders take %d bytes", held, bytes)
				}
			}
			held, bytes := c.size()
			if bytes < limit*3/5 || c.total() != orders || c.holdsAll() {
				t.Errorf("%d orders of %d take %d bytes", held, c.total(), bytes)
			}
			for i := int64(1); i <= orders; i++ {
				e, ok := c.get(fmt.Sprint("uid", i))
				if ok != (i > orders-int64(held)) || ok && (e.position != 3*i || len(e.body) != 100+int(i%50) || e.body[0] != byte(i)) {
					t.Fatalf("order %d of the newest %d: found %v at %d", i, held, ok, e.position)
				}
			}
			if n := len(c.index) + len(c.collided); n != held {
				t.Errorf("the index has %d orders, and %d are held", n, held)
			}
			if got := c.latest(0, orders); len(got) != held || got[held-1].position != 3*int64(orders-held+1) {
				t.Errorf("%d are listed of %d", len(got), held)
			}
			if got := c.latest(3*int64(orders-held+1), 10); len(got) != 0 {
				t.Errorf("%d are listed of those that are gone", len(got))
			}
			if got := c.after(0); len(got) != held {
				t.Errorf("%d are behind nothing", len(got))
			}
		})
	}
}

func TestHomePagesOrdersAreHeldWhateverTheLimit(t *testing.T) {
	t.Parallel()
	c := newLimited(1, nil)
	for i := int64(1); i <= 3*leastHeld; i++ {
		c.add(i, fmt.Sprint(i), make([]byte, 1000))
	}
	if got := c.latest(0, leastHeld); len(got) != leastHeld || got[0].position != 3*leastHeld {
		t.Errorf("%d are listed", len(got))
	}
	if held, _ := c.size(); held > leastHeld+1 {
		t.Errorf("%d are held", held)
	}
}

func TestLimitThatHoldsAllLeavesNothingOut(t *testing.T) {
	t.Parallel()
	c := newLimited(1<<20, nil)
	for i := int64(1); i <= 1000; i++ {
		c.add(i, fmt.Sprint(i), make([]byte, 500))
	}
	if held, _ := c.size(); held != 1000 || !c.holdsAll() {
		t.Errorf("%d are held", held)
	}
}

// One writer adds and drops while readers look up and list: what they find is whole, and stays so when it is dropped.
// Run with -race.
func TestReadersKeepWhatALimitedCacheDrops(t *testing.T) {
	t.Parallel()
	const orders = 2*blockOrders + 100
	c := newLimited(100<<10, nil)
	body := func(i int64) []byte { return bytes.Repeat(fmt.Append(nil, i, ";"), 20) }
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			var kept []entry
			for c.position.Load() < orders {
				i := max(1, c.position.Load()-rand.Int64N(1000))
				if e, ok := c.get(fmt.Sprint("uid", i)); ok {
					kept = append(kept, e)
				}
				list := c.latest(i, 20)
				if !slices.IsSortedFunc(list, func(a, b entry) int { return int(b.position - a.position) }) {
					t.Error("the list is out of order")
				}
				if kept = append(kept, list...); len(kept) > 5000 {
					kept = kept[2500:]
				}
				c.size()
				c.total()
			}
			for _, e := range kept {
				if !bytes.Equal(e.body, body(e.position)) {
					t.Errorf("order %d is %s", e.position, e.body)
				}
			}
		})
	}
	for i := int64(1); i <= orders; i++ {
		c.add(i, fmt.Sprint("uid", i), body(i))
	}
	group.Wait()
}

// Only as many as fit are read at the start, and what is held and what is not adds up.
func TestLimitedBootReadsTheNewestOnly(t *testing.T) {
	t.Parallel()
	const orders = 3000
	for _, c := range []struct{ limit, least, most int }{
		{limit: 1, least: leastHeld, most: 2 * leastHeld},
		{limit: 300_000, least: 100, most: 300},
		{limit: 100 << 20, least: orders + 1, most: orders + 1},
	} {
		t.Run(fmt.Sprint(c.limit), func(t *testing.T) {
			t.Parallel()
			p := newProjection(t)
			mustInsertMany(t, p, "g1", 1, orders)
			s := newServer(t, p, Options{CacheBytes: int64(c.limit)})
			mustReadAll(t, s)
			first := s.cache()
			mustInsertMany(t, p, "g1", orders+1, orders+1) // and it is followed from there
			mustReadAll(t, s)
			held, bytes := s.cache().size()
			if s.cache() != first || first.total() != orders+1 || first.count > 2*held {
				t.Errorf("%d orders in all; %d were read and %d are held", first.total(), first.count, held)
			}
			if held < c.least || held > c.most || first.holdsAll() != (held > orders) || held > 2*leastHeld && bytes > int64(c.limit) {
				t.Errorf("%d orders are held, in %d bytes", held, bytes)
			}
		})
	}
}
