package projector

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// repaired are the tables with rows of single messages, parents first.
var repaired = []string{"orders", "deliveries", "payments", "items", "duplicates", "dead_letters", "dead_letter_places"}

const holdForRepairSQL = `
select name
from generations
where name = $1
    and state = 'current'
for update`

// Caches take it for another generation, and read it anew.
const touchGenerationSQL = `
update generations
set created_at = now()
where name = $1`

// What resolved or discarded a dead letter may have come after the trial. Of decisions, those that were
// applied count: the projector applies the others.
const decideAgainSQL = `
update dead_letters as d
set resolved = (
        select min(i.position)
        from inbox as i
        where i.original = d.position
            and i.position <= c.position
            and not exists (select from dead_letters as a where a.position = i.position)
    ),
    discarded = coalesce((
        select h.kind = 'discard'
        from decisions as h
        where h.position = d.position
            and h.id <= c.decision
            and h.kind in ('discard', 'reopen')
        order by h.id desc
        limit 1
    ), false)
from checkpoint as c
where d.position = any($1)
    and d.original is null`

const recountSQL = `
update checkpoint
set orders = (select count(*) from orders),
    duplicates = (select count(*) from duplicates),
    dead_letters = (select count(*) from dead_letters)`

const forgetCountsSQL = `
delete from dead_letter_counts`

const recountLettersSQL = `
insert into dead_letter_counts (reason, place, state, letters)
select d.reason, p.place, d.state, count(*)
from dead_letters as d
join (
    select position, '` + anyPlace + `' as place from dead_letters
    union all
    select position, place from dead_letter_places
) as p on p.position = d.position
where d.original is null
group by d.reason, p.place, d.state`

// Repair puts the trial's rows of the messages at some positions in the place of those in service, in one
// transaction; caches then read everything anew. The trial must have been made as in service. The projector
// waits meanwhile.
func (t *Trial) Repair(ctx context.Context, positions []int64) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := pgx.BeginFunc(ctx, t.conn, func(tx pgx.Tx) error {
		var name string
		err := tx.QueryRow(ctx, holdForRepairSQL, t.Against).Scan(&name)
		if errors.Is(err, pgx.ErrNoRows) {
			return errReplaced
		}
		if err != nil {
			return err
		}
		rows := make([][][]any, len(repaired))
		columns := make([][]string, len(repaired))
		for i, table := range repaired {
			if columns[i], rows[i], err = rowsAt(ctx, tx, table, positions); err != nil {
				return err
			}
		}
		if err := t.replaceRows(ctx, tx, positions, columns, rows); err != nil {
			return err
		}
		for _, statement := range []string{recountSQL, forgetCountsSQL, recountLettersSQL} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, touchGenerationSQL, t.Against)
		return err
	})
	if err != nil {
		return fmt.Errorf("repair %d messages: %w", len(positions), err)
	}
	return nil
}

// replaceRows works on the generation in service. What refers to an order goes on doing so when the
// transaction ends.
func (t *Trial) replaceRows(ctx context.Context, tx pgx.Tx, positions []int64, columns [][]string, rows [][][]any) error {
	if _, err := tx.Exec(ctx, searchPathSQL, t.Against); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `set constraints all deferred`); err != nil {
		return err
	}
	for _, table := range repaired {
		if _, err := tx.Exec(ctx, `delete from `+pgx.Identifier{table}.Sanitize()+` where position = any($1)`, positions); err != nil {
			return err
		}
	}
	for i, table := range repaired {
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{table}, columns[i], pgx.CopyFromRows(rows[i])); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, decideAgainSQL, positions)
	return err
}

// The generated ones cannot be written.
const writableColumnsSQL = `
select attname
from pg_attribute
where attrelid = $1::regclass
    and attnum > 0
    and not attisdropped
    and attgenerated = ''
order by attnum`

// rowsAt returns all that a table of the search path has of some messages.
func rowsAt(ctx context.Context, tx pgx.Tx, table string, positions []int64) (columns []string, all [][]any, err error) {
	named, err := tx.Query(ctx, writableColumnsSQL, table)
	if err != nil {
		return nil, nil, err
	}
	if columns, err = pgx.CollectRows(named, pgx.RowTo[string]); err != nil {
		return nil, nil, err
	}
	rows, err := tx.Query(ctx, `select `+strings.Join(columns, ", ")+` from `+pgx.Identifier{table}.Sanitize()+` where position = any($1)`, positions)
	if err != nil {
		return nil, nil, err
	}
	all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
	return columns, all, err
}
