package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
	"golang.org/x/time/rate"

	"orderbox/internal/bench/load"
	"orderbox/internal/bench/world"
)

const (
	busyMessages = 2000 // published per second
	busyLookups  = 2000 // asked per second, however long the answers take
)

// busy: the latency of lookups while messages come in, beside that of the same process while none do. What it needs of
// the processor is far below what there is, so that it measures waiting and not a queue that grows.
func (b *bench) busy(ctx context.Context) error {
	w, err := b.world(ctx, "large", b.sizes.many)
	if err != nil {
		return err
	}
	return b.serving(ctx, w, func(s *world.Service) (err error) {
		d, err := dumpOf(ctx, s)
		if err != nil {
			return err
		}
		p99 := figure{Row: b.row, What: "GET p99 at 2,000/s while 2,000 messages/s come in", Unit: "ms", Short: "busy p99",
			Limit: "the same service, idle", Goal: goal{Ratio: true, Most: 2, Large: true}}
		beside := figure{Row: b.row, What: "the same by one worker of nginx, meanwhile", Unit: "ms", Limit: "the same nginx, while the service is idle", Goal: goal{Ratio: true}}
		closed := figure{Row: b.row, What: "GET as fast as it goes, meanwhile", Unit: "GET/s", Limit: "the same service, idle"}
		// A thousand files are enough to see how long anybody waits for a processor.
		few := &dump{uids: d.uids[:min(1000, len(d.uids))], slab: d.slab, places: d.places}
		nginxURL, stopNginx, err := b.nginx(ctx, few)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stopNginx()) }()
		before, err := scrape(ctx, s)
		if err != nil {
			return err
		}
		for range b.rounds {
			idle, idleMost, err := b.lookups(ctx, s, d)
			if err != nil {
				return err
			}
			idleNginx, err := b.steady(nginxURL, few)
			if err != nil {
				return err
			}
			var loaded, loadedMost, loadedNginx float64
			err = b.whilePublishing(ctx, w, func() (err error) {
				if loadedNginx, err = b.steady(nginxURL, few); err != nil {
					return err
				}
				loaded, loadedMost, err = b.lookups(ctx, s, d)
				return err
			})
			if err != nil {
				return err
			}
			p99.Values, p99.Limits = append(p99.Values, loaded), append(p99.Limits, idle)
			closed.Values, closed.Limits = append(closed.Values, loadedMost), append(closed.Limits, idleMost)
			beside.Values, beside.Limits = append(beside.Values, loadedNginx), append(beside.Limits, idleNginx)
			b.say("p99 %.2f ms, idle %.2f ms; nginx %.2f ms, idle %.2f ms; at most %.0f GET/s, idle %.0f", loaded, idle, loadedNginx, idleNginx, loadedMost, idleMost)
		}
		after, err := scrape(ctx, s)
		if err != nil {
			return err
		}
		b.figures = append(b.figures, p99, beside, closed)
		b.pauses("pauses of the garbage collector in all of that time", before, after, goal{})
		return nil
	})
}

// lookups asks at a steady rate for the p99 in milliseconds, and then as fast as it goes for the rate.
func (b *bench) lookups(ctx context.Context, s *world.Service, d *dump) (p99, perSecond float64, err error) {
	if p99, err = b.steady(s.URL, d); err != nil {
		return 0, 0, err
	}
	l, err := b.wrk(ctx, s.URL, d, b.sizes.Load)
	return p99, l.PerSecond(), err
}

// steady asks at a steady rate, for the p99 in milliseconds.
func (b *bench) steady(base string, d *dump) (p99 float64, err error) {
	m := load.Steady(base+world.OrderPath, d.uids, busyLookups, b.sizes.Load,
		vegeta.Connections(connections), vegeta.Workers(connections), vegeta.MaxWorkers(connections))
	if m.Success < 1 {
		return 0, fmt.Errorf("%.2f %% of the lookups failed: %v", 100*(1-m.Success), m.Errors)
	}
	return m.Latencies.P99.Seconds() * 1000, nil
}

// whilePublishing publishes at a steady rate from a second before use begins until it ends, and waits until all of that
// is projected.
func (b *bench) whilePublishing(ctx context.Context, w *world.World, use func() error) error {
	payloads, _ := made(stream(int(busyMessages*(3*b.sizes.Load.Seconds()+10)), rubbish))
	done := make(chan struct{})
	published := make(chan error, 1)
	go func() {
		pace := rate.NewLimiter(busyMessages, busyMessages/100)
		published <- w.Publish(ctx, func(yield func([]byte, error) bool) {
			for _, p := range payloads {
				select {
				case <-done:
					return
				default:
				}
				if pace.Wait(ctx) != nil || !yield(p, nil) {
					return
				}
			}
		})
	}()
	time.Sleep(time.Second)
	err := use()
	close(done)
	if err = errors.Join(err, <-published); err != nil {
		return err
	}
	// Ingested is what was published a moment ago, or all is.
	var received int64
	_, err = w.Await(ctx, 500*time.Millisecond, func(at world.Balance) bool {
		settled := at.Received == received && !at.Pending()
		received = at.Received
		return settled
	})
	return err
}
