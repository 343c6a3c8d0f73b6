package query

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox"
	"orderbox/internal/testservers"
)

// generationOf returns the generation whose rows an answer was made of, or "mixed".
func generationOf(tb testing.TB, body []byte) string {
	tb.Helper()
	var o orderbox.Order
	if err := json.Unmarshal(body, &o); err != nil {
		tb.Error(err)
	}
	g := o.CustomerID
	for _, i := range o.Items {
		if i.Brand != g {
			return "mixed"
		}
	}
	if o.Delivery.Region != g || o.Payment.Bank != g {
		return "mixed"
	}
	return g
}

// Lookups, new orders, and a replay from its beginning to its switch, all at once.
func TestGenerationIsBuiltAndSwitchedUnderLookups(t *testing.T) {
	t.Parallel()
	const batch, batches = 40, 10
	p := newProjection(t)
	mustInsertMany(t, p, "g1", 1, batch*batches)
	s := newServer(t, p, Options{Poll: time.Hour})
	s.follower.chunk = 7 // so that filling takes a while
	mustRun(t, s)

	var orders, asked atomic.Int64
	orders.Store(batch * batches)
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	for range 3 {
		group.Go(func() {
			last := "g1"
			for i := int64(0); ctx.Err() == nil; i++ {
				r := get(t, s, fmt.Sprintf("/api/v1/orders/%016d", i%orders.Load()+1))
				if r.StatusCode != http.StatusOK {
					t.Errorf("status %d for an order that is there", r.StatusCode)
					return
				}
				g := generationOf(t, body(t, http.StatusOK, r))
				if g != last && (last != "g1" || g != "g2") {
					t.Errorf("an answer of generation %s after one of %s", g, last)
					return
				}
				last = g
				asked.Add(1)
			}
		})
	}

	p.mustCreateGeneration(t, "g2", stateBuilding)
	for i := range batches {
		mustInsertMany(t, p, "g2", i*batch+1, (i+1)*batch)
		p.mustNotify(t)
		n := batch*batches + i + 1
		mustInsertMany(t, p, "g1", n, n)
		p.mustNotify(t)
		testservers.Eventually(t, "a new order is seen while a generation is built", func() bool {
			_, ok := s.cache().get(fmt.Sprintf("%016d", n))
			return ok
		})
		orders.Store(int64(n))
	}
	mustInsertMany(t, p, "g2", batch*batches+1, batch*batches+batches)
	p.mustNotify(t)
	testservers.Eventually(t, "the next cache is complete", func() bool {
		next := s.follower.next.Load()
		return next != nil && next.position.Load() == 3*orders.Load()+1
	})
	next, before := s.follower.next.Load(), asked.Load()
	testservers.Eventually(t, "lookups go on", func() bool { return asked.Load() > before })
	if g := s.cache().generation.name; g != "g1" {
		t.Errorf("%s is in service before the switch", g)
	}
	p.mustSwitch(t, "g2")
	testservers.Eventually(t, "the new generation is in service", func() bool { return s.cache() == next })
	before = asked.Load()
	testservers.Eventually(t, "lookups go on", func() bool { return asked.Load() > before })
	stop()
	group.Wait()
	if s.follower.next.Load() != nil {
		t.Error("two caches are held")
	}
	for i := range orders.Load() {
		if g := generationOf(t, body(t, http.StatusOK, get(t, s, fmt.Sprintf("/api/v1/orders/%016d", i+1)))); g != "g2" {
			t.Fatalf("order %d is of generation %s", i+1, g)
		}
	}
}

// What is new in the generation in service waits for one chunk of the other at most.
func TestGenerationBeingBuiltComesSecond(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newServer(t, p, Options{})
	s.follower.chunk = 10
	mustReadAll(t, s)
	p.mustCreateGeneration(t, "g2", stateBuilding)
	mustInsertMany(t, p, "g2", 1, 100)
	expect := func(what string, serving, next int) {
		t.Helper()
		mustRead(t, s)
		inServing, _ := s.cache().size()
		inNext, _ := s.follower.next.Load().size()
		if inServing != serving || inNext != next {
			t.Errorf("%s: %d orders in service and %d in the next cache, want %d and %d", what, inServing, inNext, serving, next)
		}
	}
	expect("nothing new", 0, 10)
	mustInsertMany(t, p, "g1", 1, 1)
	expect("a new order", 1, 20)
	mustInsertMany(t, p, "g1", 2, 16)
	expect("more new ones than a chunk holds", 11, 20)
	expect("the rest of them", 16, 30)
}

// A replica that did not follow when the switch came goes on where it was, and answers with what it has meanwhile.
func TestReplicaThatWasAwayDuringTheSwitchCatchesUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		built    bool // while the replica was there
		prepared int
	}{
		"with a part of the next generation":      {built: true, prepared: 20},
		"without having seen the next generation": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProjection(t)
			mustInsertMany(t, p, "g1", 1, 50)
			s := newServer(t, p, Options{})
			s.follower.chunk = 10
			mustReadAll(t, s)
			state := "trial" // for nobody to see
			if c.built {
				state = stateBuilding
			}
			p.mustCreateGeneration(t, "g2", state)
			mustInsertMany(t, p, "g2", 1, 60)
			for range c.prepared / s.follower.chunk {
				mustRead(t, s)
			}
			p.mustSwitch(t, "g2")
			reads := 1
			for ; mustRead(t, s); reads++ {
				if g := generationOf(t, body(t, http.StatusOK, get(t, s, "/api/v1/orders/0000000000000001"))); g != "g1" {
					t.Errorf("%s answers after %d reads", g, reads)
				}
			}
			if want := (60 - c.prepared) / s.follower.chunk; reads != want && reads != want+1 {
				t.Errorf("%d reads, want %d: was it begun again?", reads, want)
			}
			if orders, _ := s.cache().size(); s.cache().generation.name != "g2" || orders != 60 || s.follower.next.Load() != nil {
				t.Errorf("%d orders of %s", orders, s.cache().generation.name)
			}
		})
	}
}

func TestGenerationThatVanishesIsForgotten(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	mustInsertMany(t, p, "g1", 1, 20)
	s := newServer(t, p, Options{})
	s.follower.chunk = 10
	mustReadAll(t, s)
	mustBuild := func() *cache {
		t.Helper()
		p.mustCreateGeneration(t, "g2", stateBuilding)
		mustInsertMany(t, p, "g2", 1, 30)
		mustReadAll(t, s)
		next := s.follower.next.Load()
		if orders, _ := next.size(); orders != 30 {
			t.Errorf("%d orders in the next cache", orders)
		}
		p.mustDrop(t, stateBuilding)
		return next
	}
	first := mustBuild()
	if again := mustBuild(); again == first { // the follower saw nothing in between
		t.Error("a generation that began again under its old name was not read again")
	}
	if mustRead(t, s) || s.follower.next.Load() != nil {
		t.Error("the next cache is still there")
	}
	if g := generationOf(t, body(t, http.StatusOK, get(t, s, "/api/v1/orders/0000000000000020"))); g != "g1" {
		t.Errorf("%s answers", g)
	}
}

// One of another version of the program, say, with tables that this one does not know.
func TestGenerationThatCannotBeReadDelaysNobody(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newRunning(t, p, Options{Poll: time.Hour})
	p.mustCreateGeneration(t, "g2", stateBuilding)
	mustInsertMany(t, p, "g2", 1, 10)
	p.mustTx(t, "g2", func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `alter table items rename to parts`)
		return err
	})
	mustReadAll(t, newServer(t, p, Options{})) // no error
	for i := 1; i <= 3; i++ {
		mustInsertMany(t, p, "g1", i, i)
		p.mustNotify(t)
		testservers.Eventually(t, "a new order is seen", func() bool { orders, _ := s.cache().size(); return orders == i })
	}
}

// Somebody holds a lock on its tables for as long as the test takes.
func TestGenerationThatIsLockedDelaysNobody(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustCreateGeneration(t, "g2", stateBuilding)
	s := newServer(t, p, Options{})
	mustReadAll(t, s)
	p.mustTx(t, "g2", func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `lock table orders`); err != nil {
			return err
		}
		mustInsertMany(t, p, "g1", 1, 1)
		start := time.Now()
		mustReadAll(t, s)
		if took := time.Since(start); took > time.Second || s.cache().position.Load() == 0 {
			t.Errorf("the cache is at %d after %v", s.cache().position.Load(), took)
		}
		return nil
	})
}

// A rollback makes the previous generation one that is being built, which catches up and is switched.
func TestRollbackIsFollowed(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	mustInsertMany(t, p, "g1", 1, 20)
	s := newRunning(t, p, Options{})
	p.mustCreateGeneration(t, "g2", stateBuilding)
	mustInsertMany(t, p, "g2", 1, 20)
	p.mustSwitch(t, "g2")
	mustInsertMany(t, p, "g2", 21, 30)
	testservers.Eventually(t, "the new generation answers", func() bool {
		orders, _ := s.cache().size()
		return s.cache().generation.name == "g2" && orders == 30
	})
	p.mustTx(t, "g1", func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `update generations set state = 'building' where name = 'g1'`)
		return err
	})
	testservers.Eventually(t, "the old one is read beside it", func() bool {
		next := s.follower.next.Load()
		return next != nil && next.generation.name == "g1" && next.position.Load() == 3*20+1
	})
	mustInsertMany(t, p, "g1", 21, 30)
	p.mustSwitch(t, "g1")
	testservers.Eventually(t, "the old one answers", func() bool { return s.cache().generation.name == "g1" })
	for i := range 30 {
		if g := generationOf(t, body(t, http.StatusOK, get(t, s, fmt.Sprintf("/api/v1/orders/%016d", i+1)))); g != "g1" {
			t.Errorf("order %d is of generation %s", i+1, g)
		}
	}
}
