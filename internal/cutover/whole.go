package cutover

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"orderbox/internal/retry"
	"orderbox/internal/stream"
)

const (
	// settle is how long what the stream has may take into the log.
	settle      = 10 * time.Second
	settleEvery = 200 * time.Millisecond
)

// What the log has of a stream, as messages and as copies, without what was deleted from the stream.
const inLogSQL = `
select (
    select count(*)
    from inbox
    where source = 'jetstream'
        and channel = $1
        and sequence between $2 and $3
        and sequence <> all($4)
) + (
    select count(*)
    from copies
    where source = 'jetstream'
        and channel = $1
        and sequence between $2 and $3
        and sequence <> all($4)
)`

// countWhole counts the whole stream, as far as it goes now, and what of it is in the log.
func countWhole(ctx context.Context, s jetstream.Stream, pool *pgxpool.Pool, r *Report) error {
	info, err := s.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return err
	}
	deleted := make([]int64, len(info.State.Deleted))
	for i, sequence := range info.State.Deleted {
		deleted[i] = int64(sequence)
	}
	r.Stream = stream.Channel(info.Config.Name, info.Created)
	r.Whole.Messages = int64(info.State.Msgs)
	for deadline := time.Now().Add(settle); ; {
		err := pool.QueryRow(ctx, inLogSQL, r.Stream, int64(info.State.FirstSeq), int64(info.State.LastSeq), deleted).Scan(&r.Whole.InLog)
		if err != nil {
			return fmt.Errorf("count them in the log: %w", err)
		}
		r.Whole.NotYet = r.Whole.Messages - r.Whole.InLog
		if r.Whole.NotYet <= 0 || time.Now().After(deadline) {
			return nil
		}
		if err := retry.Wait(ctx, settleEvery); err != nil {
			return err
		}
	}
}
