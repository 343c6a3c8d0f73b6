package inbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Held until the transaction ends: see Order in the package comment.
const lockAppendSQL = `select pg_advisory_xact_lock(hashtext('orderbox inbox'))`

// A redelivery meets the unique key and changes nothing.
const appendMessagesSQL = `
insert into inbox (source, channel, sequence, stamped_at, payload)
select m.source, m.channel, m.sequence, m.stamped_at, m.payload
from unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::bytea[])
    as m (source, channel, sequence, stamped_at, payload)
on conflict (source, channel, sequence, stamped_at) do nothing`

const notifyAppendSQL = `select pg_notify('` + Notifications + `', '')`

// Append stores the messages in one transaction, in their order, and returns how many of them were new;
// the others were there already. When it returns nil they are all committed. When it returns an error
// they may be or not (the answer to a commit can be lost): append them again.
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

	// One batch outside a transaction is a transaction of its own, in one round trip.
	var batch pgx.Batch
	batch.Queue(lockAppendSQL)
	batch.Queue(appendMessagesSQL, sources, channels, sequences, stamps, payloads)
	batch.Queue(notifyAppendSQL)
	results := b.pool.SendBatch(ctx, &batch)
	_, err = results.Exec()
	if err == nil {
		tag, insertErr := results.Exec()
		stored, err = int(tag.RowsAffected()), insertErr
	}
	// Only Close tells whether the transaction was committed.
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return 0, fmt.Errorf("append %d messages: %w", len(messages), err)
	}
	return stored, nil
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
