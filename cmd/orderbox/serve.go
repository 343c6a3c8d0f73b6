package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"

	"orderbox/internal/cli"
	"orderbox/sql"
)

type serveCommand struct {
	dataFlags
	databaseFlags
	ReadDatabaseURL string `name:"read-database-url" env:"ORDERBOX_READ_DATABASE_URL" help:"Where orders are read from, if not from the database itself: a hot standby of it. With target_session_attrs=prefer-standby and both hosts, from the primary while that is away." placeholder:"URL"`
	brokerFlags
	webFlags
	tlsFlags
	logFlags
	schemaFlags
	Listen string        `env:"ORDERBOX_LISTEN" help:"Address for HTTP; port 0 takes a free one. Default: 127.0.0.1:8080, or without the stage query a free port of 127.0.0.1, which the log says." placeholder:"HOST:PORT"`
	Stages []string      `env:"ORDERBOX_STAGES" default:"ingest,projector,query" enum:"ingest,projector,query" help:"Which stages to run here. Default: ${default}." placeholder:"STAGE"`
	Cache  memorySize    `name:"cache-bytes" env:"ORDERBOX_CACHE_BYTES" help:"Memory for orders, such as 512MiB: the newest are held, and the database is asked for others. Default: as much as all orders take." placeholder:"SIZE"`
	Drain  time.Duration `env:"ORDERBOX_DRAIN" default:"2s" help:"How long to go on answering when told to stop, while /readyz says no: longer than a load balancer takes to notice. Default: ${default}." placeholder:"TIME"`
}

// Help is the text behind --help.
func (serveCommand) Help() string {
	return `The database must have been migrated ('orderbox migrate'). Broker and database may come and go: nothing that
was acknowledged is lost, and lookups go on meanwhile. SIGTERM and Ctrl-C stop it in order, a second one at once.

Without the stage query, it answers /metrics and /healthz alone, and takes no port from one that answers more.

Examples:
  orderbox serve
  orderbox serve --stages query --listen 127.0.0.1:8081`
}

// Run serves until ctx ends.
func (c *serveCommand) Run(ctx context.Context, s cli.Streams) error {
	if err := c.check(); err != nil {
		return err
	}
	log := c.logger(s)
	heedMemoryLimit(log)
	tokens, err := c.tokens(log)
	if err != nil {
		return err
	}
	schema, err := c.source()
	if err != nil {
		return err
	}
	st := stages{
		schema:      schema,
		ingest:      slices.Contains(c.Stages, "ingest"),
		projector:   slices.Contains(c.Stages, "projector"),
		query:       slices.Contains(c.Stages, "query"),
		databaseURL: c.DatabaseURL, readURL: c.ReadDatabaseURL, broker: c.brokerFlags, tokens: tokens, log: log, drain: c.Drain,
		cacheBytes: int64(c.Cache),
	}
	if st.tls, err = c.config(log); err != nil {
		return err
	}
	if st.listener, err = listen(ctx, c.address()); err != nil {
		return err
	}
	defer st.listener.Close()
	st.listener = limitConnections(st.listener, c.MaxConnections, log)
	log.Info("listening", "url", c.scheme()+"://"+st.listener.Addr().String())
	if err := st.run(ctx); err != nil {
		if errors.Is(err, sql.ErrNotMigrated) {
			return cli.Try(err, "orderbox migrate")
		}
		return err
	}
	log.Info("stopped")
	return nil
}

// address is where to listen. Who runs the stages in processes of their own expects the pages at the usual port, whichever
// process is started first; where what only measures is to be found can be said.
func (c *serveCommand) address() string {
	switch {
	case c.Listen != "":
		return c.Listen
	case slices.Contains(c.Stages, "query"):
		return "127.0.0.1:8080"
	default:
		return "127.0.0.1:0"
	}
}

// listen takes the address for HTTP.
func listen(ctx context.Context, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, cli.Try(fmt.Errorf("the address %s is taken by another program", address),
			"--listen 127.0.0.1:0 for a free port, or stop the other one")
	}
	if err != nil {
		return nil, cli.Try(fmt.Errorf("listen on %s: %w", address, err), "--listen 127.0.0.1:8080")
	}
	return listener, nil
}
