// Package retry goes on trying what the world refuses for now.
//
// In: something to do that needs the broker or the database. Out: the same, done, whenever they are back.
//
// Laws kept here: 5 (what is wrong with the world makes a retry with back-off, for as long as it takes).
//
// What is too much at once for a slow database is tried in smaller portions (Portion).
//
// Concurrency: none of its own; the caller's goroutine waits.
//
// Not here: deciding whether an error is the world's (the caller knows).
package retry

import (
	"context"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	firstPause  = 100 * time.Millisecond
	longest     = 5 * time.Second
	remindEvery = 30 * time.Second
)

// Forever calls f until it returns nil or ctx has ended, with pauses that grow from 0.1 s to 5 s. It
// returns nothing: the only failure is that ctx ended.
//
// f calls works once it has got through to the world; the pauses then begin small again, so that a
// session that was lost after a day is rebuilt at once. The first failure in a row is logged, then one
// every 30 s, then the recovery; doing says what failed, as a constant in lower case.
func Forever(ctx context.Context, log *slog.Logger, doing string, f func(ctx context.Context, works func()) error) {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = firstPause, longest
	log = log.With("doing", doing)
	failures, reminded := 0, time.Time{}
	works := func() {
		if failures > 0 {
			log.Info("recovered", "failures", failures)
		}
		failures = 0
		pauses.Reset()
	}
	for {
		err := f(ctx, works)
		if err == nil {
			works()
			return
		}
		if ctx.Err() != nil {
			return
		}
		failures++
		if failures == 1 || time.Since(reminded) >= remindEvery {
			reminded = time.Now()
			log.Warn("failed, trying again", "failures", failures, "error", err)
		}
		if Wait(ctx, pauses.NextBackOff()) != nil {
			return
		}
	}
}

// Wait returns nil after d, and ctx's error when that ends before.
func Wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
