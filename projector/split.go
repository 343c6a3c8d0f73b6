package projector

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// project writes a batch and returns the checkpoint behind it. When the database refuses the batch
// because of its data, it is halved until the guilty message stands alone: that one becomes a dead
// letter, and the rest is projected (law 6). The halves go in their order, so each is an ordinary batch.
func (p *Projector) project(ctx context.Context, conn *pgx.Conn, checkpoint int64, judged []judgement) (int64, error) {
	f, err := p.write(ctx, conn, checkpoint, judged)
	switch {
	case err == nil:
		p.metrics.projected(f)
		return judged[len(judged)-1].position, nil
	case !blamesMessage(err):
		return checkpoint, err
	case len(judged) > 1:
		half := len(judged) / 2
		if checkpoint, err = p.project(ctx, conn, checkpoint, judged[:half]); err != nil {
			return checkpoint, err
		}
		return p.project(ctx, conn, checkpoint, judged[half:])
	case judged[0].dead != nil:
		// Not even the refusal can be stored: no message can be guilty of that.
		return checkpoint, fmt.Errorf("store a dead letter: %w", err)
	default:
		p.log.Error("the database refused an order that passed the schema",
			"position", judged[0].position, "sqlstate", sqlState(err))
		return p.project(ctx, conn, checkpoint, []judgement{judged[0].refuse(refusedLetter(sqlState(err)))})
	}
}
