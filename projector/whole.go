package projector

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ErrDetached says that what is in service holds what became of messages that are not in the log any more, so that
// nothing that is built anew from the log could.
var ErrDetached = errors.New("partitions of the log were detached: what became of their messages would be gone")

// The count costs what it reads of an index, so it is asked for only where something was detached.
const lackingSQL = `
select c.orders + c.duplicates + c.dead_letters - (select count(*) from inbox where position <= c.position)
from checkpoint as c
where exists (select from detached)`

// checkWhole returns an error that is ErrDetached when the log lacks messages that were projected into a generation.
func checkWhole(ctx context.Context, tx pgx.Tx, gen generation) error {
	if _, err := tx.Exec(ctx, searchPathSQL, gen.name); err != nil {
		return err
	}
	var lacking int64
	err := tx.QueryRow(ctx, lackingSQL).Scan(&lacking)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && lacking <= 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("compare %s with the log: %w", gen.name, err)
	}
	return fmt.Errorf("%w: %d messages", ErrDetached, lacking)
}

const judgedSQL = `
select position, orders + duplicates + dead_letters
from checkpoint`

const aheadSQL = `
select (select count(*) from inbox where position > $1 and position <= $2),
    (select coalesce(sum(messages), 0) from detached)`

// checkLost returns an error when fewer messages were projected than into the generation in service, which has come to
// the position end, beyond those that were taken out of the log on purpose.
func (x *projection) checkLost(ctx context.Context, tx pgx.Tx, inService, end int64) error {
	var judged, ahead, detached int64
	err := x.conn.QueryRow(ctx, judgedSQL).Scan(nil, &judged)
	if err == nil {
		err = tx.QueryRow(ctx, aheadSQL, end, x.checkpoint).Scan(&ahead, &detached)
	}
	if err != nil {
		return err
	}
	if lost := inService + ahead - judged - detached; lost > 0 {
		return fmt.Errorf("the log lacks %d messages that were projected into the generation in service: give the replay up "+
			"(orderbox replay --cancel) and attach the partition that was detached", lost)
	}
	return nil
}

const wasDetachedSQL = `
select exists (select from detached where $1 between first and last)`

// skipDetached moves the checkpoint of a projection that has come to the end of the log on to a position that the
// generation in service has reached, where what came last was detached: no checkpoint ever goes back.
func (x *projection) skipDetached(ctx context.Context, end int64) error {
	var detached bool
	if err := x.conn.QueryRow(ctx, wasDetachedSQL, end).Scan(&detached); err != nil {
		return err
	}
	if !detached {
		return fmt.Errorf("the log ends before position %d, which was projected: is it the same log, with no partition detached?", end)
	}
	if _, err := x.conn.Exec(ctx, moveCheckpointSQL, x.checkpoint, end, 0, 0, 0); err != nil {
		return err
	}
	x.checkpoint = end
	return nil
}
