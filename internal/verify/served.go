package verify

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const digestsSQL = `
select order_uid, digest
from orders
where order_uid = any($1)`

// Digests returns the SHA-256 of each of the orders as they are to be served, by order_uid, as a generation
// has them. What is no order there is not in the answer.
func Digests(ctx context.Context, pool *pgxpool.Pool, generation string, uids []string) (map[string][]byte, error) {
	digests := make(map[string][]byte, len(uids))
	err := inSnapshot(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, enterGenerationSQL, generation); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, digestsSQL, uids)
		if err != nil {
			return err
		}
		var uid string
		var digest []byte
		_, err = pgx.ForEachRow(rows, []any{&uid, &digest}, func() error {
			digests[uid] = digest
			digest = nil
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the digests of %d orders: %w", len(uids), err)
	}
	return digests, nil
}

const countOrdersSQL = `
select count(*)
from orders`

// Orders counts the orders of a generation.
func Orders(ctx context.Context, pool *pgxpool.Pool, generation string) (n int64, err error) {
	err = inSnapshot(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, enterGenerationSQL, generation); err != nil {
			return err
		}
		return tx.QueryRow(ctx, countOrdersSQL).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("count the orders of %s: %w", generation, err)
	}
	return n, nil
}
