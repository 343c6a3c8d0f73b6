package query

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestCacheGivesBackTheVeryBytes(t *testing.T) {
	t.Parallel()
	c := newCache(generation{}, nil)
	bodies := map[string][]byte{
		"small":   []byte(`{}`),
		"empty":   {},
		"large":   bytes.Repeat([]byte("x"), slabBytes+1), // gets a slab of its own
		"after":   []byte(`{"order_uid":"after"}`),
		"weird\n": []byte("\x00\xff"),
	}
	position := int64(0)
	for _, uid := range []string{"small", "empty", "large", "after", "weird\n"} {
		position += 7
		c.add(position, uid, bodies[uid])
	}
	for uid, want := range bodies {
		e, ok := c.get(uid)
		if !ok || !bytes.Equal(e.body, want) {
			t.Errorf("%q: found %v, %d bytes, want %d", uid, ok, len(e.body), len(want))
		}
	}
	if _, ok := c.get("none"); ok {
		t.Error("an order that was never added is found")
	}
	if orders, held := c.size(); orders != len(bodies) || held < slabBytes {
		t.Errorf("size is %d orders, %d bytes", orders, held)
	}
}

func TestEntityTagDependsOnTheBodyAlone(t *testing.T) {
	t.Parallel()
	tag := func(position int64, body string) string {
		c := newCache(generation{}, nil)
		c.add(position, "uid", []byte(body))
		e, _ := c.get("uid")
		return e.etag
	}
	if tag(1, "a") != tag(2, "a") || tag(1, "a") == tag(1, "b") {
		t.Error("the tag does not stand for the body")
	}
	if got := tag(1, "a"); got != `"ypeBEsobvcr6wjGzmiPcTQ"` { // the first half of the SHA-256 of a
		t.Errorf("tag %s", got)
	}
}

func TestCollidingHashesStayApart(t *testing.T) {
	t.Parallel()
	c := newCache(generation{}, func(string) uint64 { return 1 })
	for i := range int64(100) {
		c.add(i+1, fmt.Sprint("uid", i), fmt.Append(nil, "body", i))
	}
	for i := range int64(100) {
		if e, ok := c.get(fmt.Sprint("uid", i)); !ok || e.position != i+1 || string(e.body) != fmt.Sprint("body", i) {
			t.Errorf("uid%d: found %v at %d: %s", i, ok, e.position, e.body)
		}
	}
	if _, ok := c.get("uid100"); ok {
		t.Error("an order that was never added is found")
	}
}

func TestAddingTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	c := newCache(generation{}, nil)
	for range 2 {
		c.add(3, "a", []byte("one"))
		c.add(5, "b", []byte("two"))
	}
	if orders, _ := c.size(); orders != 2 || len(c.latest(0, 10)) != 2 {
		t.Errorf("%d orders", orders)
	}
}

func TestLatestGoesBackPageByPage(t *testing.T) {
	t.Parallel()
	c := newCache(generation{}, nil)
	if got := c.latest(0, 10); len(got) != 0 {
		t.Errorf("an empty cache lists %d", len(got))
	}
	const orders = 2*blockOrders + 10
	var want []int64
	for i := range int64(orders) {
		c.add(3*i+1, fmt.Sprint(i), nil)
		want = append(want, 3*i+1)
	}
	slices.Reverse(want)
	var got []int64
	for before := int64(0); ; before = got[len(got)-1] {
		page := c.latest(before, 1000)
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			got = append(got, e.position)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d positions, want %d", len(got), len(want))
	}
	if got := c.latest(5, 1); len(got) != 1 || got[0].position != 4 {
		t.Errorf("before a position that is no order's: %v", got)
	}
}

// One writer adds while readers look up and list: what they find is whole. Run with -race.
func TestReadersAndWriterShareACache(t *testing.T) {
	t.Parallel()
	const orders = blockOrders + 100
	c := newCache(generation{}, nil)
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for c.position.Load() < orders {
				i := rand.Int64N(orders) + 1
				if e, ok := c.get(fmt.Sprint("uid", i)); ok && (e.position != i || string(e.body) != fmt.Sprint("body", i)) {
					t.Errorf("uid%d: %d, %s", i, e.position, e.body)
				}
				for n, e := range c.latest(i, 20) {
					if e.position != i-int64(n)-1 && e.position > i {
						t.Errorf("latest before %d: %d", i, e.position)
					}
				}
				c.size()
			}
		})
	}
	for i := int64(1); i <= orders; i++ {
		c.add(i, fmt.Sprint("uid", i), fmt.Append(nil, "body", i))
	}
	group.Wait()
}

// A lookup is bounded by the memory's latency: the index, the slab, and the entity tag's allocation. With a limit, as many orders
// as are asked for were dropped before them.
func BenchmarkLookup(b *testing.B) {
	const orders = 200_000
	body := []byte(strings.Repeat("x", 900))
	uids := make([]string, 2*orders)
	for i := range uids {
		uids[i] = fmt.Sprintf("%016x", rand.Uint64())
	}
	for _, bench := range []struct {
		name  string
		c     *cache
		added []string
	}{
		{"all orders", newCache(generation{}, nil), uids[orders:]},
		{"the newest", newLimited(orders*1300, nil), uids},
	} {
		for i, uid := range bench.added {
			bench.c.add(int64(i)+1, uid, body)
		}
		b.Run(bench.name, func(b *testing.B) {
			i := 0
			for b.Loop() {
				if _, ok := bench.c.get(uids[orders+i%orders]); !ok {
					b.Fatal("an order is gone")
				}
				i += 7919 // a prime, so that the processor's caches do not help
			}
		})
	}
}

// What an order costs beyond its body: its uid, 32 bytes of header, 8 of place, and its share of the map.
func BenchmarkMemoryPerOrder(b *testing.B) {
	const orders = 500_000
	body := bytes.Repeat([]byte("x"), 900)
	for b.Loop() {
		before := heapInUse()
		c := newCache(generation{}, nil)
		for i := range int64(orders) {
			c.add(i+1, fmt.Sprintf("%019d", i), body)
		}
		perOrder := float64(heapInUse()-before) / orders
		b.ReportMetric(perOrder, "B/order")
		b.ReportMetric(perOrder-float64(len(body)), "overhead-B/order")
		if perOrder > 1100 {
			b.Errorf("%.0f bytes per order", perOrder)
		}
		runtime.KeepAlive(c)
	}
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
