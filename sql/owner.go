package sql

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ConnectOwner connects to a database as the role orderbox_owner, which the administrator of a migrated one may take: for
// what is done to whole tables of the log. adminURL is what MigrateOptions says of it; application is what
// pg_stat_activity shows the connection as. The caller closes it.
func ConnectOwner(ctx context.Context, adminURL, database, application string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(adminURL)
	if err != nil {
		return nil, errors.New("the administrator's database URL cannot be parsed") // pgx's text may quote the password
	}
	chooseHost(config, adminURL)
	config.Database = database
	config.RuntimeParams["role"] = "orderbox_owner"
	config.RuntimeParams["application_name"] = application
	config.RuntimeParams["search_path"] = "public"
	config.RuntimeParams["timezone"] = "UTC"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect as administrator: %w", err)
	}
	if err := confirmDurably(ctx, conn); err != nil {
		conn.Close(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("connect as administrator: %w", err)
	}
	return conn, nil
}
