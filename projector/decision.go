package projector

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Of several decisions about one message the last one counts. What is no dead letter in this generation was
// decided about in another one.
const applyDecisionsSQL = `
with latest as (
    select distinct on (position) position, kind
    from decisions
    where id > (select decision from checkpoint)
        and kind in ('discard', 'reopen')
    order by position, id desc
), applied as (
    update dead_letters as d
    set discarded = (l.kind = 'discard')
    from latest as l
    where d.position = l.position
)
update checkpoint
set decision = (select max(id) from decisions)
where decision < (select max(id) from decisions)`

// decide applies what operators decided since the last time. A decision is about a message that was judged
// already in the generation in service, so another one decides when it has come as far as that one.
func decide(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, applyDecisionsSQL); err != nil {
		return fmt.Errorf("apply decisions: %w", err)
	}
	return nil
}
