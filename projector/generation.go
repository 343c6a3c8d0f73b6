package projector

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderbox/sql"
)

// state is a generation's place in a replay, as the table generations has it.
type state string

const (
	stateBuilding state = "building" // beside the current one, until it has caught up
	stateCurrent  state = "current"  // in service
	statePrevious state = "previous" // was in service before; kept until the next replay
	stateTrial    state = "trial"    // made to be compared, or given up; dropped when nobody holds it
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
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// It holds until the transaction ends.
const searchPathSQL = `select set_config('search_path', quote_ident($1) || ', public', true)`

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
	if _, err := tx.Exec(ctx, searchPathSQL, g.name); err != nil {
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

// forgetLostSQL forgets those whose tables were dropped by hand.
const forgetLostSQL = `
delete from generations
where to_regnamespace(name) is null`

// Somebody may be reading it, for hours, so its tables are dropped when that is over.
const giveUpSQL = `
update generations
set state = 'trial', status = ''
where state = $1`

// giveUp makes of the generation in a state, if there is one, a trial that nobody holds, and says whether
// there was one.
func giveUp(ctx context.Context, tx pgx.Tx, s state) (was bool, err error) {
	tag, err := tx.Exec(ctx, giveUpSQL, s)
	if err != nil {
		return false, fmt.Errorf("give up what is %s: %w", s, err)
	}
	return tag.RowsAffected() > 0, nil
}

// A trial is held by the lock of who made it. What was given up is held by nobody, nor is what a program
// left behind that was killed.
const unheldTrialsSQL = `
select name
from generations
where state = 'trial'
    and pg_try_advisory_xact_lock(hashtext(name))`

// dropUnheld drops the tables of trials that nobody holds. One that somebody reads stays until the next time.
func dropUnheld(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local lock_timeout = '1s'`); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, unheldTrialsSQL)
		if err != nil {
			return err
		}
		unheld, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, name := range unheld {
			err := pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error { return dropTrial(ctx, savepoint, name) })
			if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == lockNotAvailable {
				continue
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// lockNotAvailable is the SQLSTATE of a lock that was not to be had in time.
const lockNotAvailable = "55P03"

const deleteTrialSQL = `
delete from generations
where name = $1`

func dropTrial(ctx context.Context, tx pgx.Tx, name string) error {
	if _, err := tx.Exec(ctx, deleteTrialSQL, name); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `drop schema if exists `+pgx.Identifier{name}.Sanitize()+` cascade`)
	return err
}
