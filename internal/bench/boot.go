package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"orderbox/internal/bench/world"
)

// boot: from the start of a process until it is ready, with all orders in its cache.
func (b *bench) boot(ctx context.Context) error {
	w, err := b.world(ctx, "large", b.sizes.many)
	if err != nil {
		return err
	}
	at, err := w.Balance(ctx)
	if err != nil {
		return err
	}
	f := figure{Row: b.row, What: fmt.Sprintf("boot: %s to ready", number(float64(at.Orders), "orders")), Unit: "orders/s", Short: "boot",
		Limit: "COPY out of the four tables", Goal: goal{Ratio: true, Least: 0.5, Large: true}}
	for range b.rounds {
		took, err := boot(ctx, w)
		if err != nil {
			return err
		}
		copied, err := copyOut(ctx, w)
		if err != nil {
			return err
		}
		f.Values = append(f.Values, float64(at.Orders)/took.Seconds())
		f.Limits = append(f.Limits, float64(at.Orders)/copied.Seconds())
		b.say("ready after %.2f s; COPY out %.2f s", took.Seconds(), copied.Seconds())
	}
	b.figures = append(b.figures, f)
	return nil
}

func boot(ctx context.Context, w *world.World, flags ...string) (took time.Duration, err error) {
	s, err := w.Serve(ctx, "query", flags...)
	if err != nil {
		return 0, err
	}
	err = s.Ready(ctx)
	return time.Since(s.Started), errors.Join(err, s.Stop())
}

// copyOut reads the four tables whole, one after the other, and forgets them: as text and binary, of which the faster counts.
func copyOut(ctx context.Context, w *world.World) (least time.Duration, err error) {
	generation, err := w.Generation(ctx)
	if err != nil {
		return 0, err
	}
	for _, format := range []string{"text", "binary"} {
		started := time.Now()
		for _, table := range fourTables {
			if _, err := w.Conn.PgConn().CopyTo(ctx, io.Discard, "copy "+generation+"."+table+" to stdout (format "+format+")"); err != nil {
				return 0, fmt.Errorf("copy out %s: %w", table, err)
			}
		}
		if took := time.Since(started); least == 0 || took < least {
			least = took
		}
	}
	return least, nil
}
