package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/internal/bench/world"
)

// ingest: from the broker into the committed log. The messages are at the broker before the stage starts.
func (b *bench) ingest(ctx context.Context) error {
	w, err := b.world(ctx, "small", 0)
	if err != nil {
		return err
	}
	if err := prepareRaw(ctx, w); err != nil {
		return err
	}
	f := figure{Row: b.row, What: "broker to committed inbox", Unit: "messages/s", Short: "ingest",
		Limit: "COPY of the same rows in the same batches", Goal: goal{Ratio: true, Least: 0.6}}
	parts := figure{Row: b.row, What: "the same, beside both of its parts one after the other", Unit: "messages/s", Short: "ingest, both parts",
		Limit: "the broker's delivery with acknowledgements, and then ingest's statement alone", Goal: goal{Ratio: true}}
	alone := figure{Row: b.row, What: "ingest's statement alone, with the same rows in the same batches", Unit: "messages/s",
		Limit: f.Limit, Goal: goal{Ratio: true}}
	for range b.rounds {
		payloads, _ := made(stream(b.sizes.Messages, 0))
		if err := w.Publish(ctx, each(payloads)); err != nil {
			return err
		}
		if err := w.Rest(ctx); err != nil {
			return err
		}
		rate, batches, err := b.ingested(ctx, w, len(payloads))
		if err != nil {
			return err
		}
		if err := w.Rest(ctx); err != nil {
			return err
		}
		took, err := copyLog(ctx, w, batches)
		if err != nil {
			return err
		}
		if err := w.Rest(ctx); err != nil {
			return err
		}
		inserted, err := insertLog(ctx, w, batches)
		if err != nil {
			return err
		}
		delivery, err := w.Deliver(ctx, len(payloads))
		if err != nil {
			return err
		}
		perSecond := func(d time.Duration) float64 { return float64(len(payloads)) / d.Seconds() }
		f.Values, f.Limits = append(f.Values, rate), append(f.Limits, perSecond(took))
		parts.Values, parts.Limits = append(parts.Values, rate), append(parts.Limits, perSecond(inserted+delivery))
		alone.Values, alone.Limits = append(alone.Values, perSecond(inserted)), append(alone.Limits, perSecond(took))
		b.say("%.0f messages/s in %d batches; COPY %.0f rows/s, INSERT %.0f, delivery %.0f messages/s", rate, len(batches), perSecond(took), perSecond(inserted), perSecond(delivery))
	}
	b.figures = append(b.figures, f, alone, parts)
	return b.fill(ctx, w, 0)
}

// span is the first and the last position of a batch.
type span struct{ First, Last int64 }

// ingested starts the stage and waits for so many messages. The clock runs from when the first batch's transaction
// began until the last one was seen to be committed, both by the database's clock.
func (b *bench) ingested(ctx context.Context, w *world.World, messages int) (rate float64, batches []span, err error) {
	before, err := w.Balance(ctx)
	if err != nil {
		return 0, nil, err
	}
	s, err := w.Serve(ctx, "ingest")
	if err != nil {
		return 0, nil, err
	}
	end, err := w.Await(ctx, 2*time.Millisecond, func(at world.Balance) bool { return at.Received >= before.Received+int64(messages) })
	if stopped := s.Stop(); err == nil {
		err = stopped
	}
	if err != nil {
		return 0, nil, err
	}
	var first time.Time
	var count int
	// received_at is when the transaction began.
	if err := w.Conn.QueryRow(ctx, `select min(received_at), count(*) from inbox where position > $1`, before.Received).Scan(&first, &count); err != nil {
		return 0, nil, err
	}
	if count != messages {
		return 0, nil, fmt.Errorf("%d messages were ingested, not %d", count, messages)
	}
	rows, err := w.Conn.Query(ctx, `select min(position), max(position) from inbox where position > $1 group by received_at order by 1`, before.Received)
	if err != nil {
		return 0, nil, err
	}
	batches, err = pgx.CollectRows(rows, pgx.RowToStructByPos[span])
	return float64(messages) / end.At.Sub(first).Seconds(), batches, err
}

func copyLog(ctx context.Context, w *world.World, batches []span) (time.Duration, error) {
	const columns = "source, channel, sequence, stamped_at, payload"
	transactions := make([][]*table, len(batches))
	for i, s := range batches {
		t := &table{name: "inbox", columns: " (" + columns + ")"}
		query := fmt.Sprintf("select %s from inbox where position between %d and %d order by position", columns, s.First, s.Last)
		if err := t.read(ctx, w.Conn, query); err != nil {
			return 0, err
		}
		transactions[i] = []*table{t}
	}
	return write(ctx, w.Conn, transactions)
}

// The statement of package inbox without its lock, which nobody else wants here.
const insertLogSQL = `
insert into raw.inserted (source, channel, sequence, stamped_at, payload)
select m.source, m.channel, m.sequence, m.stamped_at, m.payload
from unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::bytea[])
    as m (source, channel, sequence, stamped_at, payload)`

// insertLog inserts what copyLog copies, and says how long that took.
func insertLog(ctx context.Context, w *world.World, batches []span) (took time.Duration, err error) {
	for _, s := range batches {
		var sources, channels []string
		var sequences []int64
		var stamps []time.Time
		var payloads [][]byte
		err := w.Conn.QueryRow(ctx, `
			select array_agg(source order by position), array_agg(channel order by position), array_agg(sequence order by position),
				array_agg(stamped_at order by position), array_agg(payload order by position)
			from inbox where position between $1 and $2`, s.First, s.Last).Scan(&sources, &channels, &sequences, &stamps, &payloads)
		if err != nil {
			return 0, fmt.Errorf("read the log: %w", err)
		}
		started := time.Now()
		if _, err := w.Conn.Exec(ctx, insertLogSQL, sources, channels, sequences, stamps, payloads); err != nil {
			return 0, fmt.Errorf("insert into the log: %w", err)
		}
		took += time.Since(started)
	}
	return took, nil
}
