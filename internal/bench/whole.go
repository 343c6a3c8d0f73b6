package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"orderbox/internal/bench/world"
)

// whole: from the first publish until the last order is visible over HTTP, all stages in one process.
func (b *bench) whole(ctx context.Context) error {
	w, err := b.world(ctx, "small", 0)
	if err != nil {
		return err
	}
	f := figure{Row: b.row, What: "published to visible over HTTP, full speed, 10 % rubbish", Unit: "orders/s", Goal: goal{Least: 10_000}}
	err = b.serving(ctx, w, func(s *world.Service) error {
		for range b.rounds {
			payloads, uids := made(stream(b.sizes.Whole, rubbish))
			if err := w.Rest(ctx); err != nil {
				return err
			}
			started := time.Now()
			if err := w.Publish(ctx, each(payloads)); err != nil {
				return err
			}
			published := time.Since(started)
			if err := s.AwaitOrder(ctx, uids[len(uids)-1], 5*time.Millisecond); err != nil {
				return err
			}
			perSecond := float64(len(uids)) / time.Since(started).Seconds()
			f.Values = append(f.Values, perSecond)
			b.say("%.0f orders/s; the broker had them after %.1f s", perSecond, published.Seconds())
			if _, err := w.Await(ctx, 50*time.Millisecond, func(at world.Balance) bool { return !at.Pending() }); err != nil {
				return err
			}
		}
		return nil
	})
	b.figures = append(b.figures, f)
	return err
}

// serving runs the service with all stages while use does something with it.
func (b *bench) serving(ctx context.Context, w *world.World, use func(*world.Service) error) error {
	s, err := w.Serve(ctx, "ingest,projector,query")
	if err != nil {
		return err
	}
	if err = s.Ready(ctx); err == nil {
		err = use(s)
	}
	return errors.Join(err, s.Stop())
}

const (
	latencyRate   = 1000 // messages per second
	latencySample = 50   // each so many-th message is looked for
	latencyEvery  = time.Millisecond

	latencyP50, latencyP99 = 10, 30 // ms, the goals
)

// latency: from the moment a message is handed to the publisher until a lookup answers 200, at a steady rate.
func (b *bench) latency(ctx context.Context) error {
	w, err := b.world(ctx, "small", 0)
	if err != nil {
		return err
	}
	if err := w.Settle(ctx); err != nil { // what came before was a hundred times as fast
		return err
	}
	p50 := figure{Row: b.row, What: "published to visible at 1,000 messages/s, p50", Unit: "ms", Goal: goal{Most: latencyP50}}
	p99 := figure{Row: b.row, What: "published to visible at 1,000 messages/s, p99", Unit: "ms", Goal: goal{Most: latencyP99}}
	err = b.serving(ctx, w, func(s *world.Service) error {
		for range b.rounds {
			took, err := b.latencies(ctx, w, s, b.sizes.latency/time.Duration(b.rounds))
			if err != nil {
				return err
			}
			p50.Values = append(p50.Values, percentile(took, 50))
			p99.Values = append(p99.Values, percentile(took, 99))
			b.say("p50 %.1f ms, p99 %.1f ms of %d", percentile(took, 50), percentile(took, 99), len(took))
			b.latencyAll = append(b.latencyAll, took...)
		}
		return nil
	})
	b.figures = append(b.figures, p50, p99)
	return err
}

// sample is a message that is looked for.
type sample struct {
	uid       string
	published time.Time
}

// latencies are those of a sample, in milliseconds, sorted.
func (b *bench) latencies(ctx context.Context, w *world.World, s *world.Service, d time.Duration) ([]float64, error) {
	payloads, uids := made(stream(int(latencyRate*d.Seconds()), 0))
	pace := rate.NewLimiter(latencyRate, 1)
	samples := make(chan sample, len(payloads)/latencySample+1)
	published := make(chan error, 1)
	go func() {
		defer close(samples)
		published <- w.Publish(ctx, func(yield func([]byte, error) bool) {
			for i, p := range payloads {
				if pace.Wait(ctx) != nil {
					return
				}
				if i%latencySample == 0 {
					samples <- sample{uids[i], time.Now()}
				}
				if !yield(p, nil) {
					return
				}
			}
		})
	}()
	// One after the other, as that is how they become visible: so there is never more than one GET each
	// millisecond, however long it takes, and the looking takes little of the processors.
	var took []float64
	var err error
	for m := range samples {
		if err == nil {
			err = s.AwaitOrder(ctx, m.uid, latencyEvery)
			took = append(took, float64(time.Since(m.published))/float64(time.Millisecond))
		}
	}
	slices.Sort(took)
	return took, errors.Join(err, <-published)
}

// percentile is of sorted values.
func percentile(sorted []float64, p int) float64 { return sorted[(len(sorted)-1)*p/100] }
