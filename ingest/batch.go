package ingest

import (
	"context"
	"time"

	"orderbox/inbox"
	"orderbox/internal/grace"
	"orderbox/internal/retry"
)

// commitUntil commits what arrives until ctx ends, and then what is in the hand, for at most finishDeadline.
func (g *Ingester) commitUntil(ctx context.Context) {
	work, cancel := grace.Context(ctx, finishDeadline)
	defer cancel()
	defer context.AfterFunc(ctx, g.hand.close)()

	g.gaps.start(ctx)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-g.hand.arrived:
			g.commit(work, g.hand.take(g.o.Batch, maxBatchBytes))
		case <-g.gaps.due():
			g.gaps.settleDue(work)
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

// commit appends the batch, for as long as the database takes, and then acknowledges it. When ctx ends
// before, nothing is acknowledged.
func (g *Ingester) commit(ctx context.Context, batch []*delivery) {
	if len(batch) == 0 {
		return
	}
	messages := make([]inbox.Message, len(batch))
	for i, d := range batch {
		messages[i] = inbox.Message{
			Source:    inbox.SourceSTAN,
			Channel:   g.o.Channel,
			Sequence:  int64(d.sequence),
			StampedAt: time.Unix(0, d.stamp).UTC(),
			Payload:   d.payload,
		}
	}
	committed := false
	retry.Forever(ctx, g.log, "append", func(ctx context.Context, _ func()) error {
		ctx, cancel := context.WithTimeout(ctx, appendTimeout)
		defer cancel()
		started := time.Now()
		stored, err := g.box.Append(ctx, messages)
		if err != nil {
			return err
		}
		g.metrics.committed(stored, len(messages), time.Since(started))
		committed = true
		return nil
	})
	if !committed {
		return
	}
	for _, msg := range g.hand.release(batch) {
		// An error means a dead session: the broker will deliver again, and the inbox knows the message.
		_ = msg.Ack()
	}
	g.gaps.saw(batch)
}
