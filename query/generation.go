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

// The states of a generation that this package knows. There is at most one generation in each.
const (
	stateCurrent  = "current"
	stateBuilding = "building"
)

// inGeneration runs f on one snapshot of the current generation's tables. It returns errNoGeneration when
// there is none.
func inGeneration(ctx context.Context, pool *pgxpool.Pool, f func(tx pgx.Tx, g generation) error) error {
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return pgx.BeginTxFunc(ctx, pool, snapshot, func(tx pgx.Tx) error {
		g, err := enterGeneration(ctx, tx, stateCurrent)
		if err != nil {
			return err
		}
		return f(tx, g)
	})
}

const enterGenerationSQL = `
select name, created_at, set_config('search_path', quote_ident(name) || ', public', true)
from generations
where state = $1`

// enterGeneration chooses the tables of the generation in a state, for the rest of the transaction. When
// there is none it changes nothing and returns errNoGeneration.
func enterGeneration(ctx context.Context, tx pgx.Tx, state string) (g generation, err error) {
	err = tx.QueryRow(ctx, enterGenerationSQL, state).Scan(&g.name, &g.created, nil)
	if errors.Is(err, pgx.ErrNoRows) {
		return g, errNoGeneration
	}
	if err != nil {
		return g, fmt.Errorf("enter the %s generation: %w", state, err)
	}
	g.created = g.created.UTC() // so that == compares the instant alone
	return g, nil
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
