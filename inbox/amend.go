package inbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// maxAmendment is what NATS lets through by default: no sender could have sent more.
const maxAmendment = 1 << 20

// Numbered like retries.
const enterAmendmentSQL = `
with entered as (
    insert into inbox (source, channel, sequence, stamped_at, original, payload)
    select '` + sourceOperator + `', 'amend', coalesce(max(sequence), 0) + 1, now(), $1, $2
    from inbox
    where source = '` + sourceOperator + `'
        and channel = 'amend'
    returning original, position
)
insert into decisions (position, kind, entry, decided_by, note)
select original, 'amend', position, $3, $4
from entered
returning entry`

// Amend enters what a message should have been, as any bytes of at most 1 MiB, and records who decided
// so. What came first stays as it came. Position, by, note and errors are those of Retry.
func (b *Inbox) Amend(ctx context.Context, by, note string, position int64, payload []byte) (entry int64, err error) {
	switch {
	case len(payload) > maxAmendment:
		err = fmt.Errorf("the payload has %d bytes, more than %d", len(payload), maxAmendment)
	case payload == nil:
		payload = []byte{} // a nil slice would be stored as null
	}
	if err == nil {
		err = b.checkDecision(ctx, by, note, []int64{position})
	}
	if err != nil {
		return 0, fmt.Errorf("amend the message at position %d: %w", position, err)
	}
	b.preparePartitions(ctx)
	err = b.decide(ctx, enterAmendmentSQL, []any{position, payload, by, note}, func(rows pgx.Rows) (err error) {
		entry, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[int64])
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("amend the message at position %d: %w", position, err)
	}
	return entry, nil
}
