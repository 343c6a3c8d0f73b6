package sql

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// reachTimeout is how long one of several hosts may take to let us in. Whoever waits for a connection waits for five seconds, and
// the next host must have its turn within them.
const reachTimeout = 4 * time.Second

// chooseHost says how one of several hosts is found, as far as the URL leaves that open. One that is gone costs its share of
// the time, be it that nobody answers or that nobody knows its name; pgx would wait for two minutes. And it is the
// primary: after a fail-over the host that is named first may have come back as a standby.
func chooseHost(config *pgx.ConnConfig, url string) {
	hosts := map[string]bool{}
	for _, f := range append(config.Fallbacks, &pgconn.FallbackConfig{Host: config.Host, Port: config.Port}) {
		_, address := pgconn.NetworkAddress(f.Host, f.Port) // some are there twice, with TLS and without
		hosts[address] = true
	}
	if len(hosts) == 1 {
		return
	}
	if config.ValidateConnect == nil && !strings.Contains(url, "target_session_attrs") {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	}
	if config.ConnectTimeout > 0 {
		return
	}
	config.ConnectTimeout = reachTimeout
	share, lookup, dial := reachTimeout/time.Duration(len(hosts)), config.LookupFunc, config.DialFunc
	config.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, share/2) // it is asked twice as well
		defer cancel()
		return lookup(ctx, host)
	}
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, share)
		defer cancel()
		return dial(ctx, network, address)
	}
}
