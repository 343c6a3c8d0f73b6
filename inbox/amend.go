package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// maxAmendment is what NATS lets through by default: no sender could have sent more.
const maxAmendment = 1 << 20

// Numbered like retries.
const enterAmendmentsSQL = `
with entered as (
    insert into inbox (source, channel, sequence, stamped_at, original, payload)
    select '` + sourceOperator + `', 'amend', n.last + m.row, now(), m.original, m.payload
    from unnest($1::bigint[], $2::bytea[]) with ordinality as m (original, payload, row)
    cross join (
        select coalesce(max(sequence), 0) as last
        from inbox
        where source = '` + sourceOperator + `'
            and channel = 'amend'
    ) as n
    order by m.row
    returning original, position
)
insert into decisions (position, kind, entry, decided_by, note)
select original, 'amend', position, $3, $4
from entered
order by position
returning entry`

// Amend enters what messages should have been, each as any bytes of at most 1 MiB, and records who decided
// so. What came first stays as it came. The payloads are in the order of the positions, and so are the
// entries. Positions, by, note and errors are those of Retry.
func (b *Inbox) Amend(ctx context.Context, by, note string, positions []int64, payloads [][]byte) (entries []int64, err error) {
	err = checkAmendments(positions, payloads)
	if err == nil {
		err = b.checkDecision(ctx, by, note, positions)
	}
	if err != nil {
		return nil, fmt.Errorf("amend %d messages: %w", len(positions), err)
	}
	payloads = slices.Clone(payloads)
	for i, payload := range payloads {
		if payload == nil {
			payloads[i] = []byte{} // a nil slice would be stored as null
		}
	}
	b.preparePartitions(ctx)
	err = b.decide(ctx, enterAmendmentsSQL, []any{positions, payloads, by, note}, func(rows pgx.Rows) (err error) {
		entries, err = pgx.CollectRows(rows, pgx.RowTo[int64])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("amend %d messages: %w", len(positions), err)
	}
	slices.Sort(entries) // they were given in the order of the positions
	return entries, nil
}

func checkAmendments(positions []int64, payloads [][]byte) error {
	if len(payloads) != len(positions) {
		return errors.New("there are not as many payloads as positions")
	}
	for _, payload := range payloads {
		if len(payload) > maxAmendment {
			return fmt.Errorf("a payload has %d bytes, more than %d", len(payload), maxAmendment)
		}
	}
	return nil
}
