package cutover

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"

	"orderbox/internal/stream"
)

// compareChunk is how many messages are compared by one statement.
const compareChunk = 2000

// What the log has under the identities of STAN's messages. Copies are counted by the second broker, and one that was
// noted in the transaction that stored its message brought it.
const foundSQL = `
select m.sequence,
    (
        select count(*)
        from inbox as i
        where i.source = 'stan'
            and i.channel = $1
            and i.sequence = m.sequence
            and i.stamped_at = m.stamped_at
    ) as there,
    coalesce(i.same, false) as same,
    coalesce(c.copied, false) as copied,
    coalesce(c.received_at = i.received_at, false) as brought,
    exists (
        select
        from detached as d
        where d.source = 'stan'
            and d.channel = $1
            and d.last_sequence >= m.sequence
            and d.last_stamp >= m.stamped_at
    ) as detached
from unnest($2::bigint[], $3::timestamptz[], $4::bytea[]) as m (sequence, stamped_at, digest)
left join lateral (
    select n.position, n.received_at, sha256(n.payload) = m.digest as same
    from inbox as n
    where n.source = 'stan'
        and n.channel = $1
        and n.sequence = m.sequence
        and n.stamped_at = m.stamped_at
    order by n.position
    limit 1
) as i on true
left join lateral (
    select n.received_at, true as copied
    from copies as n
    where n.original = i.position
    order by n.position
    limit 1
) as c on true
order by m.sequence`

// found is a row of it.
type found struct {
	sequence                        uint64
	there                           int64
	same, copied, brought, detached bool
}

// comparison is the reading of a channel beside the copies of it.
type comparison struct {
	conn   stan.Conn
	pool   *pgxpool.Pool
	copies *copyReader
	report *Report
	end    place // STAN's last message
	reach  uint64
	tell   func(sequence, last uint64)

	sequences []int64
	stamps    []time.Time
	digests   [][]byte
}

// compare reads the channel from its first message to the one that is the last now, which it returns; a zero one if STAN
// delivers nothing, of which there is no copy either.
func compare(ctx context.Context, conn stan.Conn, s jetstream.Stream, lost <-chan error, o ProveOptions, r *Report) (place, error) {
	last, silent := peek(ctx, conn, o.STAN.Channel, stan.StartWithLastReceived())
	if silent != nil && !errors.Is(silent, stream.ErrSilent) {
		return place{}, silent
	}
	copies, err := readCopies(ctx, s, o.STAN.Channel)
	if err != nil {
		return place{}, err
	}
	defer copies.stop()
	if silent != nil {
		if copies.messages != nil { // it had messages
			return place{}, silent
		}
		return place{}, nil
	}
	r.STAN.Last, r.STAN.LastAt = last.sequence, time.Unix(0, last.stamp).UTC()
	c := &comparison{conn: conn, pool: o.Pool, copies: copies, report: r, end: last, tell: o.Progress}
	err = deliver(ctx, conn, o.STAN.Channel, stan.DeliverAllAvailable(), true, lost, func(msg *stan.Msg, _ <-chan *stan.Msg) error {
		return c.take(ctx, msg)
	})
	if !errors.Is(err, errCompared) {
		return place{}, err
	}
	return last, copies.rest(ctx, r)
}

// since counts what came to STAN behind the message that the comparison ended with.
func since(ctx context.Context, conn stan.Conn, end place, r *Report) error {
	newest, err := peek(ctx, conn, r.Channel, stan.StartWithLastReceived())
	switch {
	case errors.Is(err, stream.ErrSilent) && end == place{}:
		return nil
	case err != nil:
		return err
	case newest.sequence <= end.sequence && newest != end:
		return fmt.Errorf("STAN's newest message is %d, and it was %d: it counts anew", newest.sequence, end.sequence)
	}
	r.STAN.Since = int64(newest.sequence - end.sequence)
	return nil
}

// take compares one message.
func (c *comparison) take(ctx context.Context, msg *stan.Msg) error {
	if msg.Sequence <= c.reach { // delivered again
		return msg.Ack()
	}
	r := c.report
	if r.STAN.Messages > 0 {
		if err := follows(ctx, c.conn, r.Channel, c.reach, msg.Sequence); err != nil {
			return err
		}
	}
	if r.STAN.Messages++; r.STAN.Messages == 1 {
		r.STAN.First = msg.Sequence
		c.copies.first = place{msg.Sequence, msg.Timestamp}
	}
	c.reach = msg.Sequence
	if err := c.copies.match(ctx, place{msg.Sequence, msg.Timestamp}, r); err != nil {
		return err
	}
	digest := sha256.Sum256(msg.Data)
	c.sequences = append(c.sequences, int64(msg.Sequence))
	c.stamps = append(c.stamps, time.Unix(0, msg.Timestamp).UTC())
	c.digests = append(c.digests, digest[:])
	ended := msg.Sequence >= c.end.sequence
	if ended || len(c.sequences) == compareChunk {
		if err := c.find(ctx); err != nil {
			return err
		}
		c.tell(msg.Sequence, c.end.sequence)
	}
	if ended {
		return errCompared
	}
	return msg.Ack()
}

// find looks the messages of a chunk up in the log.
func (c *comparison) find(ctx context.Context) error {
	rows, err := c.pool.Query(ctx, foundSQL, c.report.Channel, c.sequences, c.stamps, c.digests)
	if err != nil {
		return fmt.Errorf("look for messages in the log: %w", err)
	}
	var f found
	_, err = pgx.ForEachRow(rows, []any{&f.sequence, &f.there, &f.same, &f.copied, &f.brought, &f.detached}, func() error {
		c.report.Log.count(f)
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for messages in the log: %w", err)
	}
	c.sequences, c.stamps, c.digests = c.sequences[:0], c.stamps[:0], c.digests[:0]
	return nil
}

func (l *LogReport) count(f found) {
	switch {
	case f.there == 0 && f.detached:
		l.Detached++
	case f.there == 0:
		l.Missing++
		l.Wrong = addRun(l.Wrong, "missing", f.sequence)
	case !f.same:
		l.Different++
		l.Wrong = addRun(l.Wrong, "different", f.sequence)
	case f.there > 1:
		l.Doubled++
		l.Wrong = addRun(l.Wrong, "doubled", f.sequence)
	default:
		l.Once++
		switch {
		case f.brought:
			l.CopiedOnly++
		case f.copied:
			l.Both++
		default:
			l.STANAlone++
		}
	}
}

// copiesWait is how long the stream's servers may take to deliver a copy that they have.
const copiesWait = 30 * time.Second

// copyReader reads the copies in the stream by turns with what they are copies of.
type copyReader struct {
	messages jetstream.MessagesContext // nil when there are none
	first    place                     // of what STAN has
	last     uint64                    // the sequence in the stream of the last copy
	next     place                     // read and not yet matched; zero for none
	ended    bool
}

// readCopies begins to read the copies that are there now, without their payloads.
func readCopies(ctx context.Context, s jetstream.Stream, channel string) (*copyReader, error) {
	subject := stream.CopySubject(channel)
	last, err := s.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return &copyReader{ended: true}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the last copy: %w", err)
	}
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}, HeadersOnly: true,
		InactiveThreshold: copiesWait, MaxResetAttempts: 1})
	if err != nil {
		return nil, fmt.Errorf("read the copies: %w", err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, fmt.Errorf("read the copies: %w", err)
	}
	return &copyReader{messages: messages, last: last.Sequence}, nil
}

func (c *copyReader) stop() {
	if c.messages != nil {
		c.messages.Stop()
	}
}

// read sees to it that next is a copy, unless there is none left.
func (c *copyReader) read(ctx context.Context) error {
	if c.next != (place{}) || c.ended {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, copiesWait)
	defer cancel()
	for c.next == (place{}) && !c.ended {
		msg, err := c.messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read the copies: %w", err)
		}
		about, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read the copies: %w", err)
		}
		c.ended = about.Sequence.Stream >= c.last
		if origin, ok := stream.OriginOf(msg.Subject(), msg.Headers()); ok {
			c.next = placeOf(origin)
		}
	}
	return nil
}

// match looks for the copy of the next message.
func (c *copyReader) match(ctx context.Context, message place, r *Report) error {
	for ctx.Err() == nil {
		if err := c.read(ctx); err != nil {
			return err
		}
		ahead := c.next.sequence > message.sequence && c.next.stamp >= message.stamp
		switch {
		case c.next == message:
			r.Copies.Once++
			c.next = place{}
			return nil
		case c.next == (place{}), ahead:
			r.Copies.Missing++
			r.Copies.Wrong = addRun(r.Copies.Wrong, "not copied", message.sequence)
			return nil
		}
		c.skip(r)
	}
	return ctx.Err()
}

// skip counts a copy that is in no place.
func (c *copyReader) skip(r *Report) {
	if c.next.sequence < c.first.sequence || c.next.stamp < c.first.stamp {
		r.Copies.Gone++
	} else {
		r.Copies.Again++
	}
	c.next = place{}
}

// rest counts the copies behind that of the last message, but for those of what came since.
func (c *copyReader) rest(ctx context.Context, r *Report) error {
	for ctx.Err() == nil {
		if err := c.read(ctx); err != nil {
			return err
		}
		if c.next == (place{}) {
			return nil
		}
		if c.next.sequence > r.STAN.Last && !time.Unix(0, c.next.stamp).Before(r.STAN.LastAt) {
			c.next = place{}
			continue
		}
		c.skip(r)
	}
	return ctx.Err()
}
