package ingest

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"orderbox/inbox"
	"orderbox/internal/grace"
	"orderbox/internal/retry"
	"orderbox/internal/trace"
)

// batchEvery is how soon after another a batch begins. A message that comes alone is not held up; of a thousand a second
// five share a batch: all that follows is done once for them, which takes half the processors' time of every two messages
// on their own, and so they are visible sooner.
const batchEvery = 5 * time.Millisecond

// commitUntil commits what arrives until ctx ends, and then what is in the hand, for at most finishDeadline.
func (g *Ingester) commitUntil(ctx context.Context) {
	work, cancel := grace.Context(ctx, finishDeadline)
	defer cancel()
	defer context.AfterFunc(ctx, g.hand.close)()

	pace := rate.NewLimiter(rate.Every(batchEvery), 1)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-g.hand.arrived:
			_ = pace.Wait(ctx) // when ctx ends the rest is committed below
			select {
			case <-g.hand.arrived: // meanwhile, and shares this batch
			default:
			}
			g.commit(work, g.hand.take(g.o.Batch, maxBatchBytes))
		}
	}
	for work.Err() == nil {
		batch := g.hand.take(g.o.Batch, maxBatchBytes)
		if len(batch) == 0 {
			return
		}
		g.commit(work, batch)
	}
}

// commit appends the batch, for as long as the database takes, and acknowledges what is committed: all at
// once, or in portions while the database is too slow for that. When ctx ends before, the rest is not
// acknowledged.
func (g *Ingester) commit(ctx context.Context, batch []*delivery) {
	if len(batch) == 0 {
		return
	}
	failed := false
	retry.Forever(ctx, g.log, "append", func(ctx context.Context, works func()) error {
		for len(batch) > 0 {
			part := batch[:min(len(batch), g.portion.Of(g.o.Batch))]
			if err := g.append(ctx, part); err != nil {
				failed = true
				g.portion.Failed()
				return err
			}
			g.portion.Worked()
			works()
			if failed {
				failed = false
				signal(g.audit.doubt)
			}
			for _, message := range g.hand.release(part) {
				// An error means a dead session: the broker will deliver again, and the inbox knows the message.
				_ = message.Ack()
			}
			batch = batch[len(part):]
		}
		return nil
	})
}

// append returns nil when all of the batch is committed, or was.
func (g *Ingester) append(ctx context.Context, batch []*delivery) error {
	batch, err := g.withoutDetached(ctx, batch)
	if err != nil || len(batch) == 0 {
		return err
	}
	messages := make([]inbox.Message, len(batch))
	for i, d := range batch {
		messages[i] = inbox.Message{
			Source:    g.source,
			Channel:   d.channel,
			Sequence:  int64(d.sequence),
			StampedAt: time.Unix(0, d.stamp).UTC(),
			Payload:   d.payload,
			CopyOf:    d.copyOf,
		}
	}
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	started := time.Now()
	stored, err := g.box.Append(ctx, messages)
	if err != nil {
		return err
	}
	g.metrics.committed(stored, len(messages), messages[0].StampedAt, started)
	g.trace(batch, messages, started)
	return nil
}

// trace tells of messages that were committed.
func (g *Ingester) trace(batch []*delivery, messages []inbox.Message, started time.Time) {
	if g.o.Trace == nil {
		return
	}
	deliveries := make([]trace.Delivery, len(batch))
	for i, m := range messages {
		id := m.Identity()
		deliveries[i] = trace.Delivery{Source: id.Source, Channel: id.Channel, Sequence: id.Sequence, StampedAt: id.StampedAt, ReceivedAt: batch[i].received}
	}
	g.o.Trace.Ingested(started, deliveries)
}
