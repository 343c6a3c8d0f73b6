package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// generation tells one projection of the log from another. A name alone would not: a replay that begins
// again may use it again.
type generation struct {
	name    string
	created time.Time
}

// errNoGeneration says that there is none in the state asked for. When that is the current one, the
// projector has never run here.
var errNoGeneration = errors.New("there is no projection yet")

// unlessNone takes it for no fault that there is no projection: the first projector is still to come.
func unlessNone(err error) error {
	if errors.Is(err, errNoGeneration) {
		return nil
	}
	return err
}

// The states of a generation that this package knows. There is at most one generation in each.
const (
	stateCurrent  = "current"
	stateBuilding = "building"
)

// inGeneration runs f on one snapshot of the current generation's tables. It returns errNoGeneration when
// there is none.
func inGeneration(ctx context.Context, pool *pgxpool.Pool, f func(tx pgx.Tx, g generation) error) error {
	return besideGeneration(ctx, pool, func(tx pgx.Tx, current generation, _ *generation) error { return f(tx, current) })
}

// besideGeneration is inGeneration for who wants to know which generation is being built there as well, if one is.
func besideGeneration(ctx context.Context, pool *pgxpool.Pool, f func(tx pgx.Tx, current generation, building *generation) error) error {
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return pgx.BeginTxFunc(ctx, pool, snapshot, func(tx pgx.Tx) error {
		current, building, err := enterCurrent(ctx, tx)
		if err != nil {
			return err
		}
		return f(tx, current, building)
	})
}

const enterCurrentSQL = `
select name, created_at, state,
    case state when 'current' then set_config('search_path', quote_ident(name) || ', public', true) end
from generations
where state in ('current', 'building')`

// enterCurrent chooses the tables of the current generation, for the rest of the transaction, and returns the one that is
// being built as well, or nil. When there is no current one it returns errNoGeneration.
func enterCurrent(ctx context.Context, tx pgx.Tx) (current generation, building *generation, err error) {
	rows, err := tx.Query(ctx, enterCurrentSQL)
	if err != nil {
		return current, nil, fmt.Errorf("enter the current generation: %w", err)
	}
	var g generation
	var state string
	_, err = pgx.ForEachRow(rows, []any{&g.name, &g.created, &state, nil}, func() error {
		g.created = g.created.UTC() // so that == compares the instant alone
		switch state {
		case stateCurrent:
			current = g
		case stateBuilding:
			building = &generation{g.name, g.created}
		}
		return nil
	})
	if err != nil {
		return current, nil, fmt.Errorf("enter the current generation: %w", err)
	}
	if current.name == "" {
		return current, nil, errNoGeneration
	}
	return current, building, nil
}

const readCheckpointSQL = `
select position
from checkpoint`

// readCheckpoint returns the position up to which the generation decided every message.
func readCheckpoint(ctx context.Context, tx pgx.Tx) (position int64, err error) {
	if err := tx.QueryRow(ctx, readCheckpointSQL).Scan(&position); err != nil {
		return 0, fmt.Errorf("read the checkpoint: %w", err)
	}
	return position, nil
}

// projected is how far a projection is.
type projected struct {
	generation generation
	checkpoint int64
}

// readProjected asks a database how far the projection in service is; nil when there is none yet.
func readProjected(ctx context.Context, pool *pgxpool.Pool) (now *projected, err error) {
	err = inGeneration(ctx, pool, func(tx pgx.Tx, g generation) error {
		checkpoint, err := readCheckpoint(ctx, tx)
		now = &projected{g, checkpoint}
		return err
	})
	if err != nil {
		return nil, unlessNone(err)
	}
	return now, nil
}
