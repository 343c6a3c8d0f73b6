package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const keptSQL = `
select c.position, c.orders, c.duplicates, c.dead_letters,
    (select count(*) from inbox where position > c.position),
    (select coalesce(max(position), 0) from inbox)
from checkpoint as c`

const allPendingSQL = `
select count(*), coalesce(max(position), 0)
from inbox`

// kept is the balance as the projector's checkpoint has it.
func kept(ctx context.Context, tx pgx.Tx, g generation) (b Balance, err error) {
	if g.Name == "" {
		err = tx.QueryRow(ctx, allPendingSQL).Scan(&b.Pending, &b.Head)
	} else {
		err = tx.QueryRow(ctx, keptSQL).Scan(&b.Checkpoint, &b.Orders, &b.Duplicates, &b.DeadLetters, &b.Pending, &b.Head)
	}
	b.Received = b.Orders + b.Duplicates + b.DeadLetters + b.Pending
	return b, err
}

// Backlog is what has no verdict yet.
type Backlog struct {
	// Positions is how far the verdicts are behind the log. Some positions hold no message, so it is as many as
	// there are messages, or a few more.
	Positions int64
	// Age is how long the oldest of them has been in the log; 0 when there is none.
	Age time.Duration
}

// Two steps on an index, however long the backlog is.
const backlogSQL = `
select greatest((select coalesce(max(position), 0) from inbox) - c.position, 0),
    coalesce((
        select extract(epoch from greatest(clock_timestamp() - received_at, '0'))::float8
        from inbox
        where position > c.position
        order by position
        limit 1), 0)
from checkpoint as c`

const wholeBacklogSQL = `
select coalesce(max(position), 0), coalesce(extract(epoch from greatest(clock_timestamp() - min(received_at), '0')), 0)::float8
from inbox`

// Pending asks for the backlog, at little cost.
func Pending(ctx context.Context, pool *pgxpool.Pool) (b Backlog, err error) {
	var seconds float64
	err = snapshot(ctx, pool, func(tx pgx.Tx, g generation) error {
		statement := backlogSQL
		if g.Name == "" {
			statement = wholeBacklogSQL
		}
		return tx.QueryRow(ctx, statement).Scan(&b.Positions, &seconds)
	})
	if err != nil {
		return Backlog{}, fmt.Errorf("read the backlog: %w", err)
	}
	b.Age = time.Duration(seconds * float64(time.Second))
	return b, nil
}

// A checkpoint that is gone counts as one at the beginning.
const countSQL = `
with reached as (select coalesce(max(position), 0) as position from checkpoint)
select r.position,
    (select count(*) from inbox),
    (select count(*) from orders),
    (select count(*) from duplicates),
    (select count(*) from dead_letters),
    (select count(*) from inbox where position > r.position),
    (select coalesce(max(position), 0) from inbox),
    coalesce((select c.orders from checkpoint as c), 0),
    coalesce((select c.duplicates from checkpoint as c), 0),
    coalesce((select c.dead_letters from checkpoint as c), 0),
    (select count(*) from ` + fates + ` as f where ` + whereDetached + `f.position` + inDetached + `
        and not exists (select from inbox as i where i.position = f.position))
from reached as r`

// count fills the balance by counting rows, and compares it with the checkpoint's totals.
func count(ctx context.Context, tx pgx.Tx, r *Report) error {
	b := &r.Balance
	var orders, duplicates, deadLetters int64
	err := tx.QueryRow(ctx, countSQL).Scan(&b.Checkpoint, &b.Received, &b.Orders, &b.Duplicates, &b.DeadLetters,
		&b.Pending, &b.Head, &orders, &duplicates, &deadLetters, &r.Detached)
	if err != nil {
		return err
	}
	b.Received += r.Detached
	for _, total := range []struct {
		what          string
		kept, counted int64
	}{
		{"the checkpoint's total of orders is not their count", orders, b.Orders},
		{"the checkpoint's total of duplicates is not their count", duplicates, b.Duplicates},
		{"the checkpoint's total of dead letters is not their count", deadLetters, b.DeadLetters},
	} {
		if off := max(total.kept-total.counted, total.counted-total.kept); off > 0 {
			r.Broken = append(r.Broken, Finding{Law: 3, What: total.what, Count: off, Examples: []int64{b.Checkpoint}})
		}
	}
	return nil
}
