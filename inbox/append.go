package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const uniqueViolation = "23505"

// Held until the transaction ends: see Order in the package comment.
const lockAppendSQL = `select pg_advisory_xact_lock(hashtext('orderbox inbox'))`

// The lock is taken by the statement itself, so not before all of it has arrived: a sender that hangs in the
// middle of a large batch holds up nobody. A condition is met before a row gets its position.
const appendNewSQL = `
insert into inbox (source, channel, sequence, stamped_at, payload)
select m.source, m.channel, m.sequence, m.stamped_at, m.payload
from unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::bytea[])
    as m (source, channel, sequence, stamped_at, payload)
where (` + lockAppendSQL + `) is not null`

// A redelivery meets the unique key and changes nothing. To be ready for one costs a third more for every message,
// so this is for batches in which there is one.
const appendMissingSQL = appendNewSQL + `
on conflict (source, channel, sequence, stamped_at) do nothing`

// Append stores the messages in one transaction, in their order, and returns how many of them were new;
// the others were there already. When it returns nil they are all committed. When it returns an error
// they may be or not (the answer to a commit can be lost): append them again.
//
// A message with CopyOf is stored under the identity that it is a copy of, unless that one is there already, and noted as a
// copy in both cases. If there is another payload under that identity, it is a message of its own instead. A copy of what was
// detached is noted alone, whatever its payload.
func (b *Inbox) Append(ctx context.Context, messages []Message) (stored int, err error) {
	b.preparePartitions(ctx)
	var (
		sources   = make([]string, len(messages))
		channels  = make([]string, len(messages))
		sequences = make([]int64, len(messages))
		stamps    = make([]time.Time, len(messages))
		payloads  = make([][]byte, len(messages))
	)
	for i, m := range messages {
		sources[i], channels[i], sequences[i], stamps[i] = m.Source, m.Channel, m.Sequence, m.StampedAt
		payloads[i] = m.Payload
		if m.Payload == nil {
			payloads[i] = []byte{} // a nil slice would be stored as null
		}
	}

	args := []any{sources, channels, sequences, stamps, payloads}
	if originals := originalsOf(messages); originals != nil {
		stored, err = b.appendCopies(ctx, append(args, originals...))
	} else {
		stored, err = b.append(ctx, args)
	}
	if err == nil && stored == 0 {
		err = b.confirm(ctx)
	}
	if err != nil {
		// Connections keep what was wrong when they were made: a setting of the role, a server that is no longer
		// the primary. The next attempt has new ones.
		b.pool.Reset()
		return 0, fmt.Errorf("append %d messages: %w", len(messages), err)
	}
	b.appended.Notify(ctx)
	return stored, nil
}

// append is for messages of which none is a copy.
func (b *Inbox) append(ctx context.Context, args []any) (stored int, err error) {
	// One statement outside a transaction is a transaction of its own.
	tag, err := b.pool.Exec(ctx, appendNewSQL, args...)
	if taken, ok := errors.AsType[*pgconn.PgError](err); ok && taken.Code == uniqueViolation {
		tag, err = b.pool.Exec(ctx, appendMissingSQL, args...)
	}
	return int(tag.RowsAffected()), err
}

// Only a transaction that has written something waits for the disk and for the standby.
const confirmSQL = `select pg_logical_emit_message(true, 'orderbox', '')`

// confirm returns when all that was committed before is as safe as a commit makes it. It is for messages that were there
// already: whoever appended them may have been cut off, or have given up, while it waited for a synchronous standby, and then
// they are in the log of the primary alone.
func (b *Inbox) confirm(ctx context.Context) error {
	_, err := b.pool.Exec(ctx, confirmSQL)
	return err
}

const preparePartitionsSQL = `select prepare_inbox_partitions($1)`

const (
	partitionsAhead = 2 // months
	prepareEvery    = 6 * time.Hour
	prepareAgain    = time.Minute // after a failure
	prepareTimeout  = 5 * time.Second
)

// preparePartitions sees to it that there are partitions for this month and the next ones. It never
// stands in the way of a message: without them, messages go to inbox_other.
func (b *Inbox) preparePartitions(ctx context.Context) {
	b.mu.Lock()
	due := b.prepared.IsZero() || time.Since(b.prepared) > prepareEvery
	if due {
		b.prepared = time.Now()
	}
	b.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	if _, err := b.pool.Exec(ctx, preparePartitionsSQL, partitionsAhead); err != nil {
		b.mu.Lock()
		b.prepared = time.Now().Add(prepareAgain - prepareEvery)
		b.mu.Unlock()
		b.log.Warn("partitions not prepared, messages of a new month go to inbox_other", "error", err)
	}
}
