package projector

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Progress is how far the building of a generation is.
type Progress struct {
	Generation string // empty when none is being built
	Position   int64  // up to which it is projected
	Head       int64  // the log's newest position
	Status     string // what there is to say, such as that it was slowed down
	InService  string // the generation in service; empty when none is
	// Previous was in service before, up to PreviousAt; empty when there is none, or while one is built.
	Previous   string
	PreviousAt int64
}

const progressSQL = `
select coalesce(max(name) filter (where state = 'building'), ''),
    coalesce(max(status) filter (where state = 'building'), ''),
    coalesce(max(name) filter (where state = 'current'), ''),
    coalesce(max(name) filter (where state = 'previous'), ''),
    (select coalesce(max(position), 0) from inbox)
from generations
where to_regnamespace(name) is not null`

// Progress asks how far the replay is. Any program may ask.
func (p *Projector) Progress(ctx context.Context) (g Progress, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, p.pool, snapshot, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, progressSQL).Scan(&g.Generation, &g.Status, &g.InService, &g.Previous, &g.Head); err != nil {
			return err
		}
		name, position := g.Generation, &g.Position
		if name == "" {
			name, position = g.Previous, &g.PreviousAt
		}
		if name == "" {
			return nil
		}
		if _, err := tx.Exec(ctx, searchPathSQL, name); err != nil {
			return err
		}
		return tx.QueryRow(ctx, checkpointSQL).Scan(position)
	})
	if err != nil {
		return Progress{}, fmt.Errorf("read the progress of the replay: %w", err)
	}
	return g, nil
}
