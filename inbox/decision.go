package inbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

const (
	// maxDecisions bounds the messages of one call, and with them the time for which appenders wait.
	maxDecisions = 1000
	maxByBytes   = 100
	maxNoteBytes = 4000
)

// ErrUnknown says that a position is none of a message that came from outside: nothing is decided about
// retries and amendments themselves.
var ErrUnknown = errors.New("there is no such message")

// The numbers go on from the highest: nobody else counts while this transaction holds the lock. The
// payloads never leave the database.
const enterRetriesSQL = `
with entered as (
    insert into inbox (source, channel, sequence, stamped_at, original, payload)
    select '` + sourceOperator + `', 'retry', n.last + row_number() over (order by m.position), now(), m.position, m.payload
    from inbox as m
    cross join (
        select coalesce(max(sequence), 0) as last
        from inbox
        where source = '` + sourceOperator + `'
            and channel = 'retry'
    ) as n
    where m.position = any($1)
    order by m.position
    returning original, position
)
insert into decisions (position, kind, entry, decided_by, note)
select original, 'retry', position, $2, $3
from entered
order by position
returning position, entry`

// Retry enters messages once more, with the payloads they came with, and records who decided so. The
// entries are in the order of positions; a position that is named twice is retried once.
//
// It takes 1 to 1000 positions, each of a message that came from outside, or else nothing is done and the
// error is ErrUnknown. By is the operator's name, of 1 to 100 bytes; the note may be empty and has at most
// 4000. All is done or nothing; after another error it may have been done or not (the answer to a commit
// can be lost). Doing it twice is harmless: the projector judges each entry like any message, so of two
// retries the second is a duplicate.
func (b *Inbox) Retry(ctx context.Context, by, note string, positions []int64) (entries []int64, err error) {
	if err := b.checkDecision(ctx, by, note, positions); err != nil {
		return nil, fmt.Errorf("retry %d messages: %w", len(positions), err)
	}
	b.preparePartitions(ctx)
	entered := make(map[int64]int64, len(positions))
	err = b.decide(ctx, enterRetriesSQL, []any{positions, by, note}, func(rows pgx.Rows) error {
		var position, entry int64
		_, err := pgx.ForEachRow(rows, []any{&position, &entry}, func() error {
			entered[position] = entry
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("retry %d messages: %w", len(positions), err)
	}
	for _, position := range positions {
		entries = append(entries, entered[position])
	}
	return entries, nil
}

// Discard records that messages need nobody's attention any more, and why: the note must say. Positions,
// by, note and errors are those of Retry. Whether a message is one that was refused is not asked here: of
// any other message, a discard changes nothing.
func (b *Inbox) Discard(ctx context.Context, by, note string, positions []int64) error {
	if strings.TrimSpace(note) == "" {
		return errors.New("discard: the note is empty")
	}
	return b.mark(ctx, "discard", by, note, positions)
}

// Reopen takes discards back. Positions, by, note and errors are those of Retry.
func (b *Inbox) Reopen(ctx context.Context, by, note string, positions []int64) error {
	return b.mark(ctx, "reopen", by, note, positions)
}

const markSQL = `
insert into decisions (position, kind, decided_by, note)
select distinct m.position, $2, $3, $4
from unnest($1::bigint[]) as m (position)
order by m.position`

// mark records a decision that enters nothing into the log.
func (b *Inbox) mark(ctx context.Context, kind, by, note string, positions []int64) error {
	err := b.checkDecision(ctx, by, note, positions)
	if err == nil {
		err = b.decide(ctx, markSQL, []any{positions, kind, by, note}, func(rows pgx.Rows) error {
			rows.Close()
			return rows.Err()
		})
	}
	if err != nil {
		return fmt.Errorf("%s %d messages: %w", kind, len(positions), err)
	}
	return nil
}

// decide runs a statement as an appender runs its own: under the lock, so that positions and the ids of
// decisions are in the order of commits, and wakes readers. Its rows count only when the error is nil.
func (b *Inbox) decide(ctx context.Context, statement string, arguments []any, read func(pgx.Rows) error) error {
	var batch pgx.Batch
	batch.Queue(lockAppendSQL)
	batch.Queue(statement, arguments...)
	results := b.pool.SendBatch(ctx, &batch)
	_, err := results.Exec()
	if err == nil {
		var rows pgx.Rows
		if rows, err = results.Query(); err == nil {
			err = read(rows)
		}
	}
	// Only Close tells whether the transaction was committed.
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		b.appended.Notify(ctx)
	}
	return err
}

// The log only grows, so what is known now is known when the lock is held. It is planned each time: a plan
// kept from when the log was short would read all of it.
const countUnknownSQL = `
select count(*)
from unnest($1::bigint[]) as wanted (position)
where not exists (
    select
    from inbox as m
    where m.position = wanted.position
        and m.original is null
)`

// checkDecision says what is wrong with the arguments of a decision. No error quotes them: a note may hold
// anything.
func (b *Inbox) checkDecision(ctx context.Context, by, note string, positions []int64) error {
	switch {
	case by == "" || len(by) > maxByBytes || !isText(by):
		return fmt.Errorf("the name of who decides is not a text of 1 to %d bytes", maxByBytes)
	case len(note) > maxNoteBytes || !isText(note):
		return fmt.Errorf("the note is not a text of at most %d bytes", maxNoteBytes)
	case len(positions) == 0 || len(positions) > maxDecisions:
		return fmt.Errorf("there are not 1 to %d positions", maxDecisions)
	}
	var unknown int
	if err := b.pool.QueryRow(ctx, countUnknownSQL, pgx.QueryExecModeDescribeExec, positions).Scan(&unknown); err != nil {
		return err
	}
	if unknown > 0 {
		return fmt.Errorf("%d of the positions: %w", unknown, ErrUnknown)
	}
	return nil
}

// isText says whether the database could hold a text.
func isText(text string) bool { return utf8.ValidString(text) && !strings.ContainsRune(text, 0) }
