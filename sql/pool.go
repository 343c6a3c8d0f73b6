package sql

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Open makes a pool of at most conns connections; application is what pg_stat_activity shows them as.
// Nothing is connected yet: the database may be down for now. The search path is public alone; who
// works on a generation puts it in front.
func Open(ctx context.Context, url, application string, conns int32) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the database URL cannot be parsed; it looks like postgres://user:password@host:5432/database") // pgx's text may quote the password
	}
	config.MaxConns = conns
	config.ConnConfig.RuntimeParams["application_name"] = application
	config.ConnConfig.RuntimeParams["search_path"] = "public"
	// Times come back the same wherever the server stands.
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open pool for %s: %w", application, err)
	}
	return pool, nil
}
