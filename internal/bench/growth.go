package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"orderbox/internal/bench/world"
)

// growth: projecting into a large database beside projecting into a small one.
func (b *bench) growth(ctx context.Context) error {
	small, err := b.world(ctx, "few", b.sizes.few)
	if err != nil {
		return err
	}
	large, err := b.world(ctx, "large", b.sizes.most)
	if err != nil {
		return err
	}
	f := figure{Row: b.row, What: "projecting at " + number(float64(b.sizes.most), "orders"), Unit: "orders/s", Short: "growth",
		Limit: "at " + number(float64(b.sizes.few), "orders"), Goal: goal{Ratio: true, Least: 0.8}}
	for range b.rounds {
		at, err := b.projected(ctx, large, rubbish)
		if err != nil {
			return err
		}
		limit, err := b.projected(ctx, small, rubbish)
		if err != nil {
			return err
		}
		f.Values, f.Limits = append(f.Values, at.orders), append(f.Limits, limit.orders)
		b.say("%.0f orders/s; in the small database %.0f", at.orders, limit.orders)
	}
	b.figures = append(b.figures, f)
	return nil
}

const askPage = 20 // times

var pageGoal = goal{Most: 20}

// pages: lists and inspector in the large database, at the first page, in the middle, and at the last.
func (b *bench) pages(ctx context.Context) error {
	w, err := b.world(ctx, "large", b.sizes.most)
	if err != nil {
		return err
	}
	at, err := w.Balance(ctx)
	if err != nil {
		return err
	}
	return b.serving(ctx, w, func(s *world.Service) error {
		took, err := timed(ctx, s.URL+"/")
		if err != nil {
			return err
		}
		b.figures = append(b.figures, figure{Row: b.row, What: "lookup page", Unit: "ms", Values: took, Goal: pageGoal})
		for _, page := range []struct{ what, path string }{
			{"order list", "/api/v1/orders?limit=100"},
			{"inspector", "/dead-letters?"},
			{"inspector, one reason", "/dead-letters?reason=invalid"},
			{"dead letters", "/api/v1/dead-letters?limit=100"},
			{"dead letters, one reason", "/api/v1/dead-letters?limit=100&reason=invalid"},
		} {
			for _, place := range []struct {
				name  string
				after int64
			}{{"first", 0}, {"middle", at.Received / 2}, {"last", 1000}} {
				path := page.path
				if place.after > 0 {
					path += fmt.Sprintf("&after=%d", place.after)
				}
				took, err := timed(ctx, s.URL+path)
				if err != nil {
					return err
				}
				b.figures = append(b.figures, figure{Row: b.row, What: page.what + ", " + place.name, Unit: "ms", Values: took, Goal: pageGoal})
			}
		}
		return nil
	})
}

// timed asks several times, and returns the milliseconds that each took to be read whole.
func timed(ctx context.Context, url string) (took []float64, err error) {
	for range askPage {
		started := time.Now()
		code, body, err := world.Get(ctx, url)
		if err != nil || code != http.StatusOK {
			return nil, errors.Join(err, fmt.Errorf("%s: %d %.200s", url, code, body))
		}
		took = append(took, time.Since(started).Seconds()*1000)
	}
	slices.Sort(took)
	return took, nil
}
