package main

import (
	"context"
	"errors"
	"fmt"

	"orderbox/internal/bench/world"
)

// get: lookups by id, of the service alone on a database at rest.
func (b *bench) get(ctx context.Context) error {
	w, err := b.world(ctx, "large", b.sizes.many)
	if err != nil {
		return err
	}
	s, err := w.Serve(ctx, "query")
	if err != nil {
		return err
	}
	if err = s.Ready(ctx); err == nil {
		err = b.getBeside(ctx, s)
	}
	return errors.Join(err, s.Stop())
}

func (b *bench) getBeside(ctx context.Context, s *world.Service) (err error) {
	d, err := dumpOf(ctx, s)
	if err != nil {
		return err
	}
	constant, err := constantHeaders(ctx, s, d.uids[0])
	if err != nil {
		return err
	}
	bareURL, stopBare, err := bare(ctx, d, constant, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopBare()) }()
	guardedURL, stopGuarded, err := bare(ctx, d, constant, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopGuarded()) }()
	b.say("write %d files for nginx", len(d.uids))
	nginxURL, stopNginx, err := b.nginx(ctx, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopNginx()) }()
	if err := same(ctx, d, s.URL, bareURL, nginxURL); err != nil {
		return err
	}
	before, err := scrape(ctx, s)
	if err != nil {
		return err
	}
	if err := b.getRounds(ctx, d, []string{s.URL, bareURL, guardedURL, nginxURL}); err != nil {
		return err
	}
	after, err := scrape(ctx, s)
	if err != nil {
		return err
	}
	b.pauses("pauses of the garbage collector, while lookups are answered", before, after, goal{Most: 1})
	return nil
}

// pauses adds the figure of the garbage collector's pauses between two moments.
func (b *bench) pauses(what string, before, after metrics, g goal) {
	pause, n := after.pauseP99(before)
	b.figures = append(b.figures, figure{Row: b.row, What: fmt.Sprintf("p99 of %d %s", n, what), Unit: "ms", Values: []float64{pause * 1000}, Goal: g})
}

// getRounds loads the service, the bare servers and nginx in turn. The first round warms all of them up and does not count.
func (b *bench) getRounds(ctx context.Context, d *dump, bases []string) error {
	rates := make([][]float64, len(bases))
	for round := range b.rounds + 1 {
		p99 := make([]float64, len(bases))
		for i, base := range bases {
			l, err := b.wrk(ctx, base, d, b.sizes.Load)
			if err != nil {
				return err
			}
			p99[i] = l.P99 / 1000
			if round > 0 {
				rates[i] = append(rates[i], l.PerSecond())
			} else {
				b.say("warm: %.0f/s", l.PerSecond())
			}
		}
		if round > 0 {
			b.say("%.0f GET/s; bare %.0f, with deadlines %.0f, nginx %.0f; p99 %.2f ms", rates[0][round-1], rates[1][round-1], rates[2][round-1], rates[3][round-1], p99)
		}
	}
	b.figures = append(b.figures,
		figure{Row: b.row, What: "GET by id, beside net/http", Short: "net/http", Unit: "GET/s", Values: rates[0],
			Limit: "bare net/http handler with the same bytes", Limits: rates[1], Goal: goal{Ratio: true, Least: 0.95}},
		figure{Row: b.row, What: "GET by id, beside net/http with deadlines", Short: "net/http, deadlines", Unit: "GET/s", Values: rates[0],
			Limit: "the same handler with the service's deadlines for slow clients", Limits: rates[2], Goal: goal{Ratio: true}},
		figure{Row: b.row, What: "GET by id, beside nginx", Short: "nginx", Unit: "GET/s", Values: rates[0],
			Limit: "one worker of nginx with the orders as files", Limits: rates[3], Goal: goal{Ratio: true, Least: 1}})
	return nil
}
