package trace

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Projected tells of messages that got their verdicts together, from began until now, by their positions. The pool is to
// ask of what messages they are, when there is time.
func (t *Tracer) Projected(pool *pgxpool.Pool, began time.Time, verdicts map[int64]string) {
	if t == nil {
		return
	}
	now := time.Now()
	link := t.batch("project batch", began, now, len(verdicts))
	t.tell(pool, slices.Collect(maps.Keys(verdicts)), func(ctx context.Context, m logged) {
		t.step(ctx, "project", trace.SpanKindInternal, m.receivedAt, now, link,
			attribute.Int64("orderbox.position", m.position), attribute.String("orderbox.verdict", verdicts[m.position]))
	})
}

// Shown tells of messages whose orders can be looked up now, and which were read since began.
func (t *Tracer) Shown(pool *pgxpool.Pool, began time.Time, positions []int64) {
	if t == nil || len(positions) == 0 {
		return
	}
	now := time.Now()
	link := t.batch("query batch", began, now, len(positions))
	t.tell(pool, positions, func(ctx context.Context, m logged) {
		t.step(ctx, "query", trace.SpanKindInternal, began, now, link, attribute.Int64("orderbox.position", m.position))
	})
}

const identifySQL = `
select position, source, channel, sequence, stamped_at, received_at
from inbox
where position = any($1)`

const identifyTimeout = 5 * time.Second

// logged is a message as the log has it.
type logged struct {
	message
	position   int64
	receivedAt time.Time
}

// tell finds out what messages are at some positions, and tells of a step of each that is sampled.
func (t *Tracer) tell(pool *pgxpool.Pool, positions []int64, step func(ctx context.Context, m logged)) {
	job := func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, identifyTimeout)
		defer cancel()
		rows, err := pool.Query(ctx, identifySQL, positions)
		if err != nil {
			t.log.Debug("messages that cannot be traced", "error", err)
			return
		}
		var m logged
		_, err = pgx.ForEachRow(rows, []any{&m.position, &m.source, &m.channel, &m.sequence, &m.stampedAt, &m.receivedAt}, func() error {
			if within, first := t.begin(m.message); first.IsRecording() {
				step(within, m)
			}
			return nil
		})
		if err != nil {
			t.log.Debug("messages that cannot be traced", "error", err)
		}
	}
	select {
	case t.jobs <- job:
	default: // rather than keep the stage waiting
	}
}
