package projector

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"orderbox/sql"
)

// state is a generation's place in a replay, as the table generations has it.
type state string

const (
	stateBuilding state = "building" // beside the current one, until it has caught up
	stateCurrent  state = "current"  // in service
	statePrevious state = "previous" // was in service before; kept until the next replay
	stateTrial    state = "trial"    // made to be compared, and dropped
)

// generation is one set of the projection's tables, in a database schema of its own.
type generation struct {
	name        string
	state       state
	fingerprint string
	base        int64 // the schema that judges from the beginning; 0 when it is not known
}

// A generation whose tables were dropped by hand is none.
const findGenerationSQL = `
select name, state, fingerprint, coalesce(base, 0)
from generations
where state = $1
    and to_regnamespace(name) is not null`

// findGeneration returns the generation in a state, of which there is one at most; without a name when
// there is none.
func findGeneration(ctx context.Context, q querier, s state) (g generation, err error) {
	err = q.QueryRow(ctx, findGenerationSQL, s).Scan(&g.name, &g.state, &g.fingerprint, &g.base)
	if errors.Is(err, pgx.ErrNoRows) {
		return generation{}, nil
	}
	if err != nil {
		return generation{}, fmt.Errorf("look for the %s generation: %w", s, err)
	}
	return g, nil
}

// querier is a connection, a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

const searchPathSQL = `select set_config('search_path', quote_ident($1) || ', public', $2)`

// The name is never that of an earlier one: caches tell generations apart by it.
const insertGenerationSQL = `
insert into generations (name, fingerprint, state, base)
select 'generation_' || 1 + greatest(
        (select coalesce(max(substring(name from '\d+$')::integer), 0) from generations),
        (select coalesce(max(substring(nspname from '\d+$')::integer), 0) from pg_namespace where nspname ~ '^generation_\d+$')),
    $1, $2, $3
returning name`

const insertReasonSQL = `
insert into reasons (code, sentence, help)
values ($1, $2, $3)`

// createGeneration makes the tables of a generation that this program projects into.
func createGeneration(ctx context.Context, tx pgx.Tx, s state, base int64) (g generation, err error) {
	g = generation{state: s, fingerprint: fingerprint(), base: base}
	if err := tx.QueryRow(ctx, insertGenerationSQL, g.fingerprint, s, orNull(base)).Scan(&g.name); err != nil {
		return g, fmt.Errorf("make a generation: %w", err)
	}
	if _, err := tx.Exec(ctx, `create schema `+pgx.Identifier{g.name}.Sanitize()); err != nil {
		return g, fmt.Errorf("make %s: %w", g.name, err)
	}
	if _, err := tx.Exec(ctx, searchPathSQL, g.name, true); err != nil {
		return g, fmt.Errorf("make %s: %w", g.name, err)
	}
	// Several statements in one string need the simple protocol.
	if _, err := tx.Exec(ctx, sql.Generation, pgx.QueryExecModeSimpleProtocol); err != nil {
		return g, fmt.Errorf("make the tables of %s: %w", g.name, err)
	}
	for _, r := range reasons {
		if _, err := tx.Exec(ctx, insertReasonSQL, r.code, r.sentence, r.help); err != nil {
			return g, fmt.Errorf("fill the reasons of %s: %w", g.name, err)
		}
	}
	return g, nil
}

const deleteGenerationSQL = `
delete from generations
where state = $1
returning name`

// lostGenerationsSQL forgets those whose tables were dropped by hand.
const lostGenerationsSQL = `
delete from generations
where to_regnamespace(name) is null`

// dropGeneration drops the generation in a state, if there is one, and says whether there was. Somebody may
// be reading it, for hours: that is an error after a second.
func dropGeneration(ctx context.Context, tx pgx.Tx, s state) (dropped bool, err error) {
	if _, err := tx.Exec(ctx, `set local lock_timeout = '1s'`); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, lostGenerationsSQL); err != nil {
		return false, fmt.Errorf("drop the %s generation: %w", s, err)
	}
	var name string
	err = tx.QueryRow(ctx, deleteGenerationSQL, s).Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err == nil {
		_, err = tx.Exec(ctx, `drop schema if exists `+pgx.Identifier{name}.Sanitize()+` cascade`)
	}
	if err != nil {
		return false, fmt.Errorf("drop the %s generation: %w", s, err)
	}
	return true, nil
}
