package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"orderbox/inbox"
	"orderbox/publisher"
	"orderbox/sql"
)

// appendBatch is how many messages ingest appends at a time when it has many.
const appendBatch = 2048

// measureLock appends to a log of its own with one appender and with several, which all want the one lock.
func (s *scale) measureLock(ctx context.Context) error {
	w, err := s.world.Beside(ctx, "appenders")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	s.found.appended = map[int]samples{}
	for round := range s.Rounds {
		for _, appenders := range s.Appenders {
			if err := w.Rest(ctx); err != nil {
				return err
			}
			channel := fmt.Sprintf("%d appenders, round %d", appenders, round)
			one, err := s.appendBy(ctx, w.DatabaseURL, channel, appenders)
			if err != nil {
				return err
			}
			s.found.appended[appenders] = append(s.found.appended[appenders], one)
			s.say("%s: %.0f messages/s", channel, samples{one}.rate())
		}
	}
	return nil
}

// appendBy has several appenders share messages.
func (s *scale) appendBy(ctx context.Context, url, channel string, appenders int) (sample, error) {
	batches := make([][]inbox.Message, appenders)
	var n int64
	for m := range publisher.Messages(s.seed(), s.Messages, 0) {
		n++
		of := &batches[n%int64(appenders)]
		*of = append(*of, inbox.Message{Source: inbox.SourceSTAN, Channel: channel, Sequence: n, StampedAt: time.Now(), Payload: m.Payload})
	}
	pool, err := sql.Open(ctx, url, "orderbox ingest", int32(appenders))
	if err != nil {
		return sample{}, err
	}
	defer pool.Close()
	box := inbox.New(pool, slog.New(slog.DiscardHandler))
	if _, err := box.Append(ctx, []inbox.Message{{Source: inbox.SourceSTAN, Channel: channel + ", to begin with", Sequence: 1, StampedAt: time.Now()}}); err != nil {
		return sample{}, err
	}
	before, err := s.meter.read(ctx)
	if err != nil {
		return sample{}, err
	}
	g, appending := errgroup.WithContext(ctx)
	for _, messages := range batches {
		g.Go(func() error {
			for len(messages) > 0 {
				batch := messages[:min(appendBatch, len(messages))]
				if _, err := box.Append(appending, batch); err != nil {
					return err
				}
				messages = messages[len(batch):]
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return sample{}, err
	}
	after, err := s.meter.read(ctx)
	return after.since(before, s.Messages, runtime.NumCPU()), err
}
