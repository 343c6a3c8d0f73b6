package projector

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"orderbox/sql"
)

// generation is one set of the projection's tables, in a database schema of its own.
type generation struct {
	name    string
	current bool // it is in service
}

// A generation whose schema was dropped by hand is none.
const generationSQL = `
select name, state = 'current'
from generations
where fingerprint = $1
    and to_regnamespace(name) is not null
order by state = 'current' desc, created_at desc
limit 1`

// openGeneration returns the generation that this program projects into, and puts it in front of conn's
// search path. When there is none with its fingerprint, it is made: it is in service at once if nothing
// else is, and otherwise built beside the one that is, until it has caught up.
func openGeneration(ctx context.Context, conn *pgx.Conn) (g generation, err error) {
	err = conn.QueryRow(ctx, generationSQL, fingerprint()).Scan(&g.name, &g.current)
	if errors.Is(err, pgx.ErrNoRows) {
		// Somebody may be reading what is stale, for hours; then it stays until the next time.
		_ = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return dropStale(ctx, tx) })
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			g, err = createGeneration(ctx, tx)
			return err
		})
	}
	if err != nil {
		return g, fmt.Errorf("open a generation: %w", err)
	}
	if _, err = conn.Exec(ctx, searchPathSQL, g.name, false); err != nil {
		return g, fmt.Errorf("choose %s: %w", g.name, err)
	}
	return g, nil
}

const searchPathSQL = `select set_config('search_path', quote_ident($1) || ', public', $2)`

// What is neither in service nor being built is what an abandoned or replaced generation left behind.
const staleGenerationsSQL = `
delete from generations
where state <> 'current'
returning name`

const insertGenerationSQL = `
insert into generations (name, fingerprint, state)
select 'generation_' || coalesce(max(substring(name from '\d+$')::integer), 0) + 1, $1,
    case when count(*) filter (where state = 'current') = 0 then 'current' else 'building' end
from generations
returning name, state = 'current'`

const insertReasonSQL = `
insert into reasons (code, sentence, help)
values ($1, $2, $3)`

// The tables of one that is marked current were dropped by hand.
const lostGenerationsSQL = `
delete from generations
where to_regnamespace(name) is null`

func dropStale(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `set local lock_timeout = '1s'`); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, staleGenerationsSQL)
	if err != nil {
		return err
	}
	stale, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range stale {
		if _, err := tx.Exec(ctx, `drop schema if exists `+pgx.Identifier{name}.Sanitize()+` cascade`); err != nil {
			return err
		}
	}
	return nil
}

func createGeneration(ctx context.Context, tx pgx.Tx) (g generation, err error) {
	if _, err := tx.Exec(ctx, lostGenerationsSQL); err != nil {
		return g, err
	}
	if err := tx.QueryRow(ctx, insertGenerationSQL, fingerprint()).Scan(&g.name, &g.current); err != nil {
		return g, err
	}
	if _, err := tx.Exec(ctx, `create schema `+pgx.Identifier{g.name}.Sanitize()); err != nil {
		return g, err
	}
	if _, err := tx.Exec(ctx, searchPathSQL, g.name, true); err != nil {
		return g, err
	}
	// Several statements in one string need the simple protocol.
	if _, err := tx.Exec(ctx, sql.Generation, pgx.QueryExecModeSimpleProtocol); err != nil {
		return g, err
	}
	for _, r := range reasons {
		if _, err := tx.Exec(ctx, insertReasonSQL, r.code, r.sentence, r.help); err != nil {
			return g, err
		}
	}
	return g, nil
}

const retireGenerationSQL = `
update generations
set state = 'previous'
where state = 'current'`

const serveGenerationSQL = `
update generations
set state = 'current'
where name = $1`

// serve puts a generation that has caught up in the place of the one in service.
func (g *generation) serve(ctx context.Context, conn *pgx.Conn) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, retireGenerationSQL); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, serveGenerationSQL, g.name); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, notifyProjectionSQL)
		return err
	})
	if err != nil {
		return fmt.Errorf("put %s in service: %w", g.name, err)
	}
	g.current = true
	return nil
}
