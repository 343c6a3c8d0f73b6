package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// The innermost query takes at most $2 rows off the index; the window then ends the batch before it
// holds more than $3 bytes, but never before its first row. What was adopted is of the same snapshot: a schema is
// adopted under the appenders' lock, so each that judges one of these entries is there.
const readEntriesSQL = `
select m.position, m.original, m.received_at, m.payload, m.next is null and m.row < $2,
    coalesce((select max(id) from schemas), 0)
from (
    select n.position, n.original, n.received_at, n.payload,
        sum(octet_length(n.payload)) over (order by n.position rows unbounded preceding) as bytes,
        row_number() over (order by n.position rows unbounded preceding) as row,
        lead(n.position) over (order by n.position rows unbounded preceding) as next
    from (
        select position, coalesce(original, 0) as original, received_at, payload
        from inbox
        where position > $1
        order by position
        limit $2
    ) as n
) as m
where m.bytes <= $3 or m.row = 1
order by m.position`

// Read returns the entries after a position in commit order: at most limit of them, and no more than
// maxBytes of payload unless the first alone is larger. None means that the reader has caught up; nothing
// will ever appear at or before the last position that was returned.
func (b *Inbox) Read(ctx context.Context, after int64, limit, maxBytes int) ([]Entry, error) {
	rows, err := b.pool.Query(ctx, readEntriesSQL, after, limit, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("read the inbox after %d: %w", after, err)
	}
	entries, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e Entry, err error) {
		err = row.Scan(&e.Position, &e.Original, &e.ReceivedAt, &e.Payload, &e.Ahead.Last, &e.Ahead.Adopted)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the inbox after %d: %w", after, err)
	}
	return entries, nil
}

// Each side is taken off an index: that of positions where many are of the channel, that of identities where few are. Only a
// plan for these very values knows which; with the other one it reads the whole log.
const lastMessageSQL = `
select m.sequence, m.stamped_at
from (
    (
        select position, sequence, stamped_at
        from inbox
        where source = $1
            and channel = $2
        order by position desc
        limit 1
    )
    union all
    (
        select position, sequence, stamped_at
        from copies
        where source = $1
            and channel = $2
        order by position desc
        limit 1
    )
) as m
order by m.position desc
limit 1`

// Last returns the sequence and stamp of the message that was appended last from a channel, be it a copy of another; a zero
// sequence when there is none.
func (b *Inbox) Last(ctx context.Context, source, channel string) (sequence int64, stampedAt time.Time, err error) {
	return b.last(ctx, "the last message", lastMessageSQL, source, channel)
}

const detachedSQL = `
select last_sequence, last_stamp
from detached
where source = $1
    and channel = $2
order by last_stamp desc
limit 1`

// Detached returns the sequence and stamp of the last message of a channel whose partition was detached: it and those
// before are not missing. A zero sequence when there is none.
func (b *Inbox) Detached(ctx context.Context, source, channel string) (sequence int64, stampedAt time.Time, err error) {
	return b.last(ctx, "what was detached", detachedSQL, source, channel)
}

// last asks for one message of a channel; a zero sequence when there is none. It has a plan of its own each time: a statement
// that the server keeps gets one for all values from the sixth time on.
func (b *Inbox) last(ctx context.Context, what, statement, source, channel string) (sequence int64, stampedAt time.Time, err error) {
	err = b.pool.QueryRow(ctx, statement, pgx.QueryExecModeCacheDescribe, source, channel).Scan(&sequence, &stampedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, time.Time{}, nil
	}
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("read %s of a channel: %w", what, err)
	}
	return sequence, stampedAt, nil
}

// Span is a run of a channel's sequences.
type Span struct{ From, To int64 }

// The indexes of identities alone are read. One sequence more closes a hole at the end.
const missingSpansSQL = `
select m.previous + 1, m.sequence - 1
from (
    select n.sequence, lag(n.sequence, 1, $3 - 1) over (order by n.sequence) as previous
    from (
        select sequence
        from inbox
        where source = $1
            and channel = $2
            and sequence between $3 and $4
            and stamped_at >= $5
        union all
        select sequence
        from copies
        where source = $1
            and channel = $2
            and sequence between $3 and $4
            and stamped_at >= $5
        union all
        select $4 + 1
    ) as n
) as m
where m.sequence > m.previous + 1
order by m.sequence
limit $6`

// Missing returns the first runs of a channel's sequences from..to, at most limit of them, of which no message that
// was stamped since is in the log, nor noted there as a copy.
func (b *Inbox) Missing(ctx context.Context, source, channel string, from, to int64, since time.Time, limit int) ([]Span, error) {
	rows, err := b.pool.Query(ctx, missingSpansSQL, source, channel, from, to, since, limit)
	if err != nil {
		return nil, fmt.Errorf("look for missing messages of a channel: %w", err)
	}
	spans, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Span])
	if err != nil {
		return nil, fmt.Errorf("look for missing messages of a channel: %w", err)
	}
	return spans, nil
}

const entriesAtSQL = `
select position, coalesce(original, 0), received_at, payload
from inbox
where position = any($1)
order by position`

// At returns the entries at some positions, in the order of positions; those that are not there are left out.
func (b *Inbox) At(ctx context.Context, positions []int64) ([]Entry, error) {
	rows, err := b.pool.Query(ctx, entriesAtSQL, positions)
	if err != nil {
		return nil, fmt.Errorf("read %d entries of the inbox: %w", len(positions), err)
	}
	entries, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Entry])
	if err != nil {
		return nil, fmt.Errorf("read %d entries of the inbox: %w", len(positions), err)
	}
	return entries, nil
}
