package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"orderbox/internal/bench/world"
)

const (
	// limitedShare is the part of the memory for all orders that a cache is limited to.
	limitedShare = 10
	// askers ask for every order at once.
	askers = 8
)

// limited: a cache that is limited to a tenth of the orders, beside one that holds all. Those that both hold are asked for as fast
// as it goes, of both in turns; and every order is asked for in lists and by its id, by that only every tenth in a run of all rows, and each
// answer is compared.
func (b *bench) limited(ctx context.Context) (err error) {
	w, err := b.world(ctx, "large", b.sizes.many)
	if err != nil {
		return err
	}
	whole, err := w.Serve(ctx, "query")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, whole.Stop()) }()
	if err := whole.Ready(ctx); err != nil {
		return err
	}
	d, err := dumpOf(ctx, whole)
	if err != nil {
		return err
	}
	all, err := cacheBytes(ctx, whole)
	if err != nil {
		return err
	}
	limit := []string{"--cache-bytes", strconv.Itoa(int(all) / limitedShare)}
	s, err := w.Serve(ctx, "query", limit...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	if err := s.Ready(ctx); err != nil {
		return err
	}
	if err := b.limitedRounds(ctx, whole, s, d); err != nil {
		return err
	}
	if err := b.limitedBoots(ctx, w, limit); err != nil {
		return err
	}
	return b.everyOrder(ctx, s, d)
}

// limitedBoots adds how long a process takes to be ready, with a limit and without.
func (b *bench) limitedBoots(ctx context.Context, w *world.World, limit []string) error {
	f := figure{Row: b.row, What: "boot with a tenth of the memory", Unit: "s", Limit: "without a limit", Goal: goal{Ratio: true, Most: 0.5, Large: true}}
	for range b.rounds {
		with, err := boot(ctx, w, limit...)
		if err != nil {
			return err
		}
		without, err := boot(ctx, w)
		if err != nil {
			return err
		}
		f.Values, f.Limits = append(f.Values, with.Seconds()), append(f.Limits, without.Seconds())
		b.say("ready after %.2f s; without a limit %.2f s", with.Seconds(), without.Seconds())
	}
	b.figures = append(b.figures, f)
	return nil
}

// everyOrder asks a service for all orders in lists, and for one of b.apart by its id, and compares the answers with those of another.
func (b *bench) everyOrder(ctx context.Context, s *world.Service, d *dump) error {
	listed, err := dumpOf(ctx, s)
	if err != nil {
		return err
	}
	if !bytes.Equal(listed.slab, d.slab) {
		return errors.New("the lists have other orders than without a limit")
	}
	b.say("%d orders in the lists are the same bytes", len(d.uids))
	g, asking := errgroup.WithContext(ctx)
	var next, again atomic.Int64
	for range askers {
		g.Go(func() error {
			for i := int(next.Add(1)-1) * b.apart; i < len(d.uids); i = int(next.Add(1)-1) * b.apart {
				tag, want, _ := d.order(d.uids[i])
				header, got, err := fetch(asking, s.URL+world.OrderPath+d.uids[i])
				for tries := 0; err != nil && header.Get("Retry-After") != "" && tries < 10; tries++ {
					again.Add(1) // a database that takes two seconds for an answer is busy; the client comes again
					header, got, err = fetch(asking, s.URL+world.OrderPath+d.uids[i])
				}
				if err != nil {
					return err
				}
				if header.Get("Etag") != string(tag) || !bytes.Equal(got, want) {
					return fmt.Errorf("order %d of the newest is answered otherwise than without a limit", i)
				}
				if i > 0 && i%100_000 == 0 {
					b.say("%d of %d orders were asked for by their ids, and are the same bytes", i/b.apart, len(d.uids)/b.apart)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	b.say("one of %d orders by its id, too; %d times it was to be asked for again", b.apart, again.Load())
	return nil
}

// limitedRounds loads the service that holds all and the one that does not, in turns that change, with orders that both hold; and
// then the latter with orders that it does not. The first round warms both up and does not count.
func (b *bench) limitedRounds(ctx context.Context, whole, s *world.Service, d *dump) error {
	tenth := len(d.uids) / limitedShare
	newest, others := *d, *d
	newest.uids, others.uids = d.uids[:tenth/2], slices.Clone(d.uids[2*tenth:]) // held and not, however the sizes are spread
	hits := figure{Row: b.row, What: "GET by id of orders that are held", Unit: "GET/s", Short: "limited cache", Limit: "the same orders of a cache without a limit", Goal: goal{Ratio: true, Least: 0.95}}
	misses := figure{Row: b.row, What: "GET by id of orders that are not", Unit: "GET/s"}
	for round := range b.rounds + 1 {
		var rates [2]float64
		for turn := range rates {
			i := (turn + round) % len(rates)
			l, err := b.wrk(ctx, []*world.Service{s, whole}[i].URL, &newest, b.sizes.Load)
			if err != nil {
				return err
			}
			rates[i] = l.PerSecond()
		}
		b.say("%.0f GET/s; without a limit %.0f", rates[0], rates[1])
		if round > 0 {
			hits.Values, hits.Limits = append(hits.Values, rates[0]), append(hits.Limits, rates[1])
		}
	}
	for range b.rounds {
		// wrk draws the same numbers each time, and those of the round before were kept.
		rand.Shuffle(len(others.uids), func(i, j int) { others.uids[i], others.uids[j] = others.uids[j], others.uids[i] })
		l, err := b.wrk(ctx, s.URL, &others, b.sizes.Load)
		if err != nil && l.Errors == 0 { // a busy database may be late for some
			return err
		}
		misses.Values = append(misses.Values, l.PerSecond())
		b.say("%.0f GET/s of orders that are not held, %d of them too late", l.PerSecond(), l.Errors)
	}
	b.figures = append(b.figures, hits, misses)
	return nil
}

// cacheBytes is what a service says its orders take.
func cacheBytes(ctx context.Context, s *world.Service) (float64, error) {
	code, text, err := world.Get(ctx, s.URL+"/metrics")
	if err != nil || code != http.StatusOK {
		return 0, errors.Join(err, fmt.Errorf("read the metrics: status %d", code))
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "orderbox_cache_bytes "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("%s/metrics does not say what the cache takes", s.URL)
}
