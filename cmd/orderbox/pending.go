package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"orderbox/internal/retry"
	"orderbox/internal/verify"
)

const (
	pendingPoll    = 5 * time.Second
	pendingTimeout = 5 * time.Second
)

// followPending measures what has no verdict yet until ctx ends: from the tables, so that it is true of a projector that
// hangs, or that nobody runs.
func (s *stages) followPending(ctx context.Context, pool *pgxpool.Pool) {
	messages := prometheus.NewGauge(prometheus.GaugeOpts{Name: "orderbox_pending_messages",
		Help: "Messages in the log that have no verdict yet, or a few more."})
	age := prometheus.NewGauge(prometheus.GaugeOpts{Name: "orderbox_pending_seconds",
		Help: "How long the oldest message that has no verdict yet has been in the log; 0 when there is none."})
	s.registry.MustRegister(messages, age)
	poll(ctx, s.log, "look for what is pending", pendingPoll, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, pendingTimeout)
		defer cancel()
		backlog, err := verify.Pending(ctx, pool)
		if err == nil {
			messages.Set(float64(backlog.Positions))
			age.Set(backlog.Age.Seconds())
		}
		return err
	})
}

// poll calls f again and again until ctx ends, with a pause after each time that it worked, and longer ones while the
// database is away.
func poll(ctx context.Context, log *slog.Logger, doing string, pause time.Duration, f func(ctx context.Context) error) {
	retry.Forever(ctx, log, doing, func(ctx context.Context, works func()) error {
		for {
			if err := f(ctx); err != nil {
				return err
			}
			works()
			if err := retry.Wait(ctx, pause); err != nil {
				return err
			}
		}
	})
}
