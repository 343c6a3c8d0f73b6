package inbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Schema is a JSON Schema that judges the entries behind a position, until the next one does.
type Schema struct {
	ID      int64 // from 1, growing in the order of adoption
	Version string
	// Fingerprint names the program that brought it, apart from the schema: its tables and its code.
	Fingerprint string
	Source      []byte
	After       int64 // the position
}

const adoptSchemaSQL = `
insert into schemas (version, fingerprint, source, after)
select $1, $2, $3, coalesce(max(position), 0)
from inbox
returning id`

// Adopt makes s, of which it takes Version, Fingerprint and Source, the schema in force from the end of the
// log on, and returns its id. The log is locked until tx ends: no entry comes between.
func Adopt(ctx context.Context, tx pgx.Tx, s Schema) (id int64, err error) {
	if _, err := tx.Exec(ctx, lockAppendSQL); err != nil {
		return 0, fmt.Errorf("adopt a schema: %w", err)
	}
	if err := tx.QueryRow(ctx, adoptSchemaSQL, s.Version, s.Fingerprint, s.Source).Scan(&id); err != nil {
		return 0, fmt.Errorf("adopt a schema: %w", err)
	}
	return id, nil
}

const findSchemaSQL = `
select coalesce(max(id) filter (where version = $1 and fingerprint = $2), 0), coalesce(max(id), 0)
from schemas`

// Find returns the id under which a version was adopted last by the program of that fingerprint, 0 for
// never, and the id of the schema in force, 0 for none.
func Find(ctx context.Context, tx pgx.Tx, version, fingerprint string) (id, inForce int64, err error) {
	if err := tx.QueryRow(ctx, findSchemaSQL, version, fingerprint).Scan(&id, &inForce); err != nil {
		return 0, 0, fmt.Errorf("look for a schema: %w", err)
	}
	return id, inForce, nil
}

const listSchemasSQL = `
select id, version, fingerprint, source, after
from schemas
where id >= $1
order by id`

// Schemas returns those that were adopted from one on, in their order. Up to the one that Read says was adopted last, they
// contain every one that judges what was read.
func (b *Inbox) Schemas(ctx context.Context, from int64) ([]Schema, error) {
	rows, err := b.pool.Query(ctx, listSchemasSQL, from)
	if err != nil {
		return nil, fmt.Errorf("list schemas: %w", err)
	}
	schemas, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Schema])
	if err != nil {
		return nil, fmt.Errorf("list schemas: %w", err)
	}
	if len(schemas) == 0 {
		return nil, errors.New("list schemas: the generation's own is missing")
	}
	return schemas, nil
}
