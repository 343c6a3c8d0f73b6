package projector

import (
	"context"
	"fmt"
	"time"
)

// project writes a batch and moves the checkpoint behind it. When the database refuses the batch because of
// its data, it is halved until the guilty message stands alone: that one becomes a dead letter, and the rest
// is projected (law 6). The halves go in their order, so each is an ordinary batch.
func (x *projection) project(ctx context.Context, judged []judgement) error {
	started := time.Now()
	f, err := x.write(ctx, judged)
	switch {
	case err == nil:
		x.checkpoint = judged[len(judged)-1].position
		if x.gen.state == stateCurrent {
			x.metrics.projected(f, judged[0].receivedAt, started)
			x.trace(f, started)
		}
		return nil
	case !blamesMessage(err):
		return err
	case len(judged) > 1:
		half := len(judged) / 2
		if err := x.project(ctx, judged[:half]); err != nil {
			return err
		}
		return x.project(ctx, judged[half:])
	case judged[0].dead != nil:
		// Not even the refusal can be stored: no message can be guilty of that.
		return fmt.Errorf("store the dead letter at position %d: SQLSTATE %s", judged[0].position, sqlState(err)) // its text may quote data
	default:
		x.log.Error("the database refused an order that passed the schema",
			"position", judged[0].position, "sqlstate", sqlState(err))
		return x.project(ctx, []judgement{judged[0].refuse(refusedLetter(sqlState(err)))})
	}
}

// trace tells of messages that got their verdicts.
func (x *projection) trace(f fates, started time.Time) {
	if x.o.Trace == nil {
		return
	}
	verdicts := make(map[int64]string)
	for _, j := range f.orders {
		verdicts[j.position] = "order"
	}
	for _, d := range f.duplicates {
		verdicts[d.position] = "duplicate"
	}
	for _, j := range f.dead {
		verdicts[j.position] = string(j.dead.reason)
	}
	x.o.Trace.Projected(x.pool, started, verdicts)
}
