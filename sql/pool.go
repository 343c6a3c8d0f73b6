package sql

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// What is acknowledged must survive a crash of the server, whatever default somebody has set; a stronger
// setting than on stays.
const confirmDurablySQL = `
select set_config('synchronous_commit', 'on', false)
where current_setting('synchronous_commit') = 'off'`

func confirmDurably(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, confirmDurablySQL)
	return err
}

// Open makes a pool of at most conns connections; application is what pg_stat_activity shows them as.
// Nothing is connected yet: the database may be down for now. The search path is public alone; who
// works on a generation puts it in front. Of several hosts it is one that takes writes, unless the URL says otherwise by
// target_session_attrs.
func Open(ctx context.Context, url, application string, conns int32) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("the database URL names a file that cannot be read: %w", file)
	}
	if err != nil {
		return nil, errors.New("the database URL cannot be parsed; it looks like postgres://user:password@host:5432/database") // pgx's text may quote the password
	}
	chooseHost(config.ConnConfig, url)
	config.MaxConns = conns
	config.ConnConfig.RuntimeParams["application_name"] = application
	config.ConnConfig.RuntimeParams["search_path"] = "public"
	// The server notices within about ten seconds that the network to a client is cut, and frees its locks:
	// by default it would hold them for two hours. On a unix socket these have no effect.
	config.ConnConfig.RuntimeParams["tcp_keepalives_idle"] = "4"
	config.ConnConfig.RuntimeParams["tcp_keepalives_interval"] = "2"
	config.ConnConfig.RuntimeParams["tcp_keepalives_count"] = "3"
	config.ConnConfig.RuntimeParams["tcp_user_timeout"] = "10000"
	// A program that hangs alive answers those all the same. Nothing here leaves a transaction alone for that long.
	config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "2min"
	// Compiling pays for queries that run for seconds. The short ones here get there by estimates that are wrong: a
	// table of one row that was never analysed counts as a thousand, and compiling took the balance half a second.
	config.ConnConfig.RuntimeParams["jit"] = "off"
	config.AfterConnect = confirmDurably
	// Times come back the same wherever the server stands.
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open pool for %s: %w", application, err)
	}
	return pool, nil
}
