package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"orderbox/internal/bench/world"
)

// cache: the memory of a process that holds all orders, less that of one that holds one.
func (b *bench) cache(ctx context.Context) error {
	empty, err := b.world(ctx, "empty", 1)
	if err != nil {
		return err
	}
	w, err := b.world(ctx, "large", b.sizes.many)
	if err != nil {
		return err
	}
	live := figure{Row: b.row, What: "heap in use per order", Unit: "B", Short: "memory", Limit: "its JSON", Goal: goal{Ratio: true, Most: 1.3}}
	held := figure{Row: b.row, What: "resident memory per order, unused heap included", Unit: "B", Limit: live.Limit}
	none, err := memory(ctx, empty)
	if err != nil {
		return err
	}
	all, err := memory(ctx, w)
	if err != nil {
		return err
	}
	perOrder := func(bytes float64) float64 { return bytes / float64(all.orders) }
	live.Values, held.Values = []float64{perOrder(all.live - none.live)}, []float64{perOrder(all.resident - none.resident)}
	live.Limits = []float64{perOrder(float64(all.json))}
	held.Limits = live.Limits
	b.say("%.0f B in use per order, %.0f B resident; JSON %.0f B", live.Values[0], held.Values[0], live.Limits[0])
	b.figures = append(b.figures, live, held)
	return nil
}

// footprint is the memory of a process that answers lookups, and what is in it.
type footprint struct {
	live, resident float64 // bytes
	orders, json   int
}

// memory starts a process and weighs it when the garbage has been collected once more.
func memory(ctx context.Context, w *world.World) (f footprint, err error) {
	s, err := w.Serve(ctx, "query")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	if err := s.Ready(ctx); err != nil {
		return f, err
	}
	d, err := dumpOf(ctx, s)
	if err != nil {
		return f, err
	}
	m, err := collected(ctx, s)
	if err != nil {
		return f, err
	}
	held, err := resident(s.PID())
	return footprint{live: m.live, resident: held, orders: len(d.uids), json: d.bodies()}, err
}

// collected makes the service allocate, by asking for its metrics, until it has collected its garbage once more.
func collected(ctx context.Context, s *world.Service) (m metrics, err error) {
	before, err := scrape(ctx, s)
	if err != nil {
		return m, err
	}
	const attempts, atATime, each = 1000, 8, 50
	for range attempts {
		var asking sync.WaitGroup
		for range atATime {
			asking.Go(func() {
				for range each {
					_, _, _ = world.Get(ctx, s.URL+"/metrics") // one that fails is missed by nobody
				}
			})
		}
		asking.Wait()
		if m, err = scrape(ctx, s); err != nil || m.collections > before.collections {
			return m, err
		}
	}
	return m, fmt.Errorf("no garbage was collected by %s", s.URL)
}
