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

// errNoGeneration says that nothing was projected yet: the projector has never run here.
var errNoGeneration = errors.New("there is no projection yet")

// Chooses the tables for the rest of the transaction.
const enterGenerationSQL = `
select name, created_at, set_config('search_path', quote_ident(name) || ', public', true)
from generations
where state = 'current'`

// inGeneration runs f on one snapshot of the current generation's tables. It returns errNoGeneration when
// there is none.
func inGeneration(ctx context.Context, pool *pgxpool.Pool, f func(tx pgx.Tx, g generation) error) error {
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return pgx.BeginTxFunc(ctx, pool, snapshot, func(tx pgx.Tx) error {
		var g generation
		err := tx.QueryRow(ctx, enterGenerationSQL).Scan(&g.name, &g.created, nil)
		if errors.Is(err, pgx.ErrNoRows) {
			return errNoGeneration
		}
		if err != nil {
			return fmt.Errorf("enter the current generation: %w", err)
		}
		g.created = g.created.UTC() // so that == compares the instant alone
		return f(tx, g)
	})
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
