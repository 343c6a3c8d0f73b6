package projector

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Most of the time nothing was decided, and this is all there is to it.
const reachDecisionSQL = `
update checkpoint as c
set decision = newest.id
from checkpoint as before
cross join (select max(id) as id from decisions) as newest
where before.decision < newest.id
returning before.decision, newest.id`

// Of several decisions about one message the last one counts. What is no dead letter in this generation was
// decided about in another one.
const applyDecisionsSQL = `
with latest as (
    select distinct on (position) position, kind
    from decisions
    where id > $1
        and id <= $2
        and kind in ('discard', 'reopen')
    order by position, id desc
), changed as (
    update dead_letters as d
    set discarded = (l.kind = 'discard')
    from latest as l
    join dead_letters as before on before.position = l.position
    where d.position = l.position
    returning d.position, d.reason, d.original, before.state as was, d.state
)` + countChanged

// decide applies what operators decided since the last time. A decision is about a message that was judged
// already in the generation in service, so another one decides when it has come as far as that one.
func decide(ctx context.Context, tx querier) error {
	var before, last int64
	err := tx.QueryRow(ctx, reachDecisionSQL).Scan(&before, &last)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err == nil {
		_, err = tx.Exec(ctx, applyDecisionsSQL, before, last)
	}
	if err != nil {
		return fmt.Errorf("apply decisions: %w", err)
	}
	return nil
}
