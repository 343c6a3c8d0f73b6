package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"orderbox/internal/verify"
)

const (
	missingPoll = 10 * time.Second
	// missingSettled is how old a gap must be to be spoken of. Before that the message may be on its way again,
	// which takes the broker half a minute, and the auditor twice as long.
	missingSettled = 3 * time.Minute
)

// missing knows what never came, for the page, the balance and the metrics of this process.
type missing struct {
	messages, gaps atomic.Int64
}

func newMissing(registry *prometheus.Registry) *missing {
	m := new(missing)
	gauge(registry, "missing_messages", "Messages that the broker numbered and that are not in the log.", &m.messages)
	gauge(registry, "missing_gaps", "Runs of messages that are not in the log.", &m.gaps)
	return m
}

func gauge(registry *prometheus.Registry, name, help string, value *atomic.Int64) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "orderbox", Name: name, Help: help},
		func() float64 { return float64(value.Load()) }))
}

// settled is how many messages in how many gaps never came, as of the last look.
func (m *missing) settled() (messages, gaps int64) { return m.messages.Load(), m.gaps.Load() }

// follow looks at what is new in the log now and then until ctx ends.
func (m *missing) follow(ctx context.Context, s *stages, pool *pgxpool.Pool) error {
	log := s.log.With("stage", "missing")
	var found verify.Gaps
	told := int64(0)
	poll(ctx, log, "look for gaps", missingPoll, func(ctx context.Context) error {
		if err := found.Follow(ctx, pool); err != nil {
			return err
		}
		messages, gaps := found.Missing(missingSettled)
		m.messages.Store(messages)
		m.gaps.Store(gaps)
		if messages > told {
			log.Warn("messages never came, orderbox verify names them", "missing", messages, "gaps", gaps)
		}
		told = messages
		return nil
	})
	return nil
}
