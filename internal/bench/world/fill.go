package world

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/publisher"
)

const fillBatch = 10_000

// filled is the channel that messages seem to have come from which never were at a broker.
const filled = "filled"

// Append copies messages into the log, as if they had been published and ingested, and returns how many. The stream's
// seed must be new to the world, or its orders are duplicates.
func (w *World) Append(ctx context.Context, messages func(yield func(publisher.Message) bool)) (appended int, err error) {
	var sequence int64
	if err := w.Conn.QueryRow(ctx, `select coalesce(max(sequence), 0) from inbox where channel = $1`, filled).Scan(&sequence); err != nil {
		return 0, err
	}
	if _, err := w.Conn.Exec(ctx, `select prepare_inbox_partitions(0)`); err != nil {
		return 0, err
	}
	var rows [][]any
	write := func() error {
		_, err := w.Conn.CopyFrom(ctx, pgx.Identifier{"inbox"}, []string{"source", "channel", "sequence", "stamped_at", "payload"}, pgx.CopyFromRows(rows))
		appended += len(rows)
		rows = rows[:0]
		return err
	}
	for m := range messages {
		sequence++
		rows = append(rows, []any{"stan", filled, sequence, time.Now(), m.Payload})
		if len(rows) == fillBatch {
			if err := write(); err != nil {
				return appended, fmt.Errorf("fill the log: %w", err)
			}
		}
	}
	return appended, write()
}

// Project starts the projector's stage alone, and returns how far things stood when its second batch began and when all
// was projected: what it takes to start is between neither. Progress, if set, hears of every step.
func (w *World) Project(ctx context.Context, progress func(Balance)) (from, to Balance, err error) {
	before, err := w.Balance(ctx)
	if err != nil {
		return from, to, err
	}
	s, err := w.Serve(ctx, "projector")
	if err != nil {
		return from, to, err
	}
	to, err = w.Await(ctx, 5*time.Millisecond, func(b Balance) bool {
		if b.Position > before.Position && from.At.IsZero() {
			from = b
		}
		if progress != nil {
			progress(b)
		}
		return b.Position >= before.Received
	})
	if stopped := s.Stop(); err == nil {
		err = stopped
	}
	return from, to, err
}
