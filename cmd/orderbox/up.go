package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"orderbox/inbox"
	"orderbox/internal/cli"
	"orderbox/internal/envfile"
	"orderbox/internal/local"
	"orderbox/publisher"
	"orderbox/sql"
)

type upCommand struct {
	dataFlags
	webFlags
	logFlags
	schemaFlags
	sourceFlags
	Listen       string `env:"ORDERBOX_LISTEN" default:"127.0.0.1:8080" help:"Address for HTTP; port 0 takes a free one. Default: ${default}." placeholder:"HOST:PORT"`
	Channel      string `env:"ORDERBOX_CHANNEL" default:"orders" help:"Channel the orders arrive on. Default: ${default}." placeholder:"NAME"`
	NATSPort     int    `name:"nats-port" help:"Port of the broker on 127.0.0.1. Default: a free one." placeholder:"PORT"`
	PostgresPort int    `name:"postgres-port" help:"Port of the database on 127.0.0.1. Default: a free one." placeholder:"PORT"`
	Empty        bool   `help:"Publish no samples the first time."`
}

// Help is the text behind --help.
func (upCommand) Help() string {
	return `Starts a NATS Streaming server and a PostgreSQL of its own, sets them up, and runs all stages. The first time it
publishes some sample orders and some rubbish. Ctrl-C stops it; starting it again goes on where it stopped.

All state is in the data directory, where the file env tells the other commands and 'publish' what to talk to.
PostgreSQL 15 or later is found on PATH or in the usual places, or else downloaded.

With --source jetstream the same server offers JetStream, and messages come from a stream.

Examples:
  orderbox up
  orderbox up --data /tmp/second --listen 127.0.0.1:8081 --source jetstream`
}

const (
	cluster      = "orderbox"
	databaseName = "orderbox"
	databaseStop = 10 * time.Second
	// startPatience is how long it may take to become ready before the terminal is told so.
	startPatience = 5 * time.Minute
)

// Run brings everything up and keeps it so until ctx ends. The order of stopping is the reverse: the
// stages, which still need both servers, then the broker, then the database.
func (c *upCommand) Run(ctx context.Context, s cli.Streams) error {
	log := c.logger(s)
	if c.OperatorToken == "" {
		c.OperatorToken = rand.Text()
	}
	tokens, err := c.tokens(log)
	if err != nil {
		return err
	}
	lock, err := local.Lock(c.Data)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	listener, err := listen(ctx, c.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	listener = limitConnections(listener, c.MaxConnections, log)

	postgres, err := local.StartPostgres(ctx, local.PostgresOptions{
		Dir: filepath.Join(c.Data, "postgres"), Port: c.PostgresPort, Durable: true, Log: log})
	if err != nil {
		return err
	}
	defer func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), databaseStop)
		defer cancel()
		if err := postgres.Stop(late); err != nil {
			log.Error("postgresql did not stop in time", "error", err)
		}
	}()
	schema, err := c.source()
	if err != nil {
		return err
	}
	databaseURL, err := c.migrate(ctx, postgres)
	if err != nil {
		return err
	}

	offer := local.STANOptions{Dir: filepath.Join(c.Data, "stan"), Port: c.NATSPort, ClusterID: cluster, Log: log}
	if slices.Contains(c.Sources, inbox.SourceJetStream) {
		offer.JetStream = filepath.Join(c.Data, "jetstream")
	}
	broker, err := local.StartSTAN(offer)
	if err != nil {
		return err
	}
	defer broker.Stop()

	st := stages{ingest: true, projector: true, query: true, databaseURL: databaseURL, tokens: tokens,
		broker: brokerFlags{channelFlags{c.sourceFlags, addressFlags{NATSURL: broker.URL(), Cluster: cluster, Channel: c.Channel}},
			clientFlags{"orderbox-up"}},
		listener: listener, schema: schema, log: log}
	if err := c.writeEnv(&st, postgres.URL("postgres")); err != nil {
		return err
	}
	return c.supervise(ctx, s, postgres, &st)
}

// migrate sets the database up, with a password for the service that is new at every start.
func (c *upCommand) migrate(ctx context.Context, postgres *local.Postgres) (databaseURL string, err error) {
	u, err := url.Parse(postgres.URL(databaseName))
	if err != nil {
		return "", err
	}
	password := rand.Text()
	u.User = url.UserPassword("orderbox", password)
	_, err = sql.Migrate(ctx, sql.MigrateOptions{AdminURL: postgres.URL("postgres"), Database: databaseName, Password: password})
	return u.String(), err
}

// writeEnv leaves word for the other commands.
func (c *upCommand) writeEnv(st *stages, adminURL string) error {
	return envfile.Write(filepath.Join(c.Data, "env"), []envfile.Pair{
		{Key: "ORDERBOX_DATABASE_URL", Value: st.databaseURL},
		{Key: "ORDERBOX_ADMIN_URL", Value: adminURL},
		{Key: "ORDERBOX_NATS_URL", Value: st.broker.NATSURL},
		{Key: "ORDERBOX_STAN_CLUSTER", Value: st.broker.Cluster},
		{Key: "ORDERBOX_CHANNEL", Value: st.broker.Channel},
		{Key: "ORDERBOX_SOURCE", Value: strings.Join(st.broker.Sources, ",")},
		{Key: "ORDERBOX_STREAM", Value: st.broker.Stream},
		{Key: "ORDERBOX_URL", Value: "http://" + st.listener.Addr().String()},
		{Key: "ORDERBOX_OPERATOR_TOKEN", Value: c.OperatorToken},
	})
}

// supervise runs the stages, publishes the samples, says what there is to see, and ends with ctx or when
// PostgreSQL ends by itself.
func (c *upCommand) supervise(ctx context.Context, s cli.Streams, postgres *local.Postgres, st *stages) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return st.run(ctx) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-postgres.Done():
			return cli.Try(postgres.Err(), "start again: everything is kept")
		}
	})
	g.Go(func() error {
		if !c.Empty {
			if err := publishSamples(ctx, st); err != nil && ctx.Err() == nil {
				st.log.Warn("samples not published", "error", err) // no reason to end everything else
			}
		}
		c.greet(ctx, s, st)
		return nil
	})
	err := g.Wait()
	st.log.Info("stopped")
	return err
}

// Of the samples one message is the reference order, and a fifth of the others is rubbish.
const (
	sampleSeed    = 1
	sampleCount   = 60
	sampleRubbish = 0.2
	sampleUID     = "b563feb7b2b84b6test" // of the reference order
)

// publishSamples publishes something to look at, if the log is empty.
func publishSamples(ctx context.Context, st *stages) error {
	pool, err := sql.Open(ctx, st.databaseURL, "orderbox up", 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	entries, err := inbox.New(pool, st.log).Read(ctx, 0, 1, 1)
	if err != nil || len(entries) > 0 {
		return err
	}
	p, err := publisher.New(publisher.Options{URL: st.broker.NATSURL, Cluster: st.broker.Cluster, Channel: st.broker.Channel,
		Stream: st.broker.stream(st.broker.Sources[0]), Log: st.log})
	if err != nil {
		return err
	}
	_, err = p.Publish(ctx, func(yield func([]byte, error) bool) {
		if yield(publisher.Model, nil) {
			publisher.Payloads(publisher.Messages(sampleSeed, sampleCount, sampleRubbish))(yield)
		}
	})
	return err
}

// greet tells the person at the terminal what there is, once it is there.
func (c *upCommand) greet(ctx context.Context, s cli.Streams, st *stages) {
	base := "http://" + st.listener.Addr().String()
	if err := waitReady(ctx, s, base, startPatience); err != nil {
		if ctx.Err() == nil {
			st.log.Warn("not ready yet", "error", err)
		}
		return
	}
	dir := ""
	if c.Data != ".orderbox" {
		dir = " --data " + c.Data
	}
	sample := ""
	if !c.Empty {
		sample = fmt.Sprintf("\n  an order      %[1]s/orders/%[2]s\n  as JSON       %[1]s/api/v1/orders/%[2]s", base, sampleUID)
	}
	fmt.Fprintf(s.Out, `
Orderbox is up.

  the page      %[1]s/%[4]s
  publish       go run ./cmd/publish%[2]s order.json, or --count 100 --rubbish 10%%
  verify        go run ./cmd/orderbox verify%[2]s
  operator      %[1]s/dead-letters, with the token %[3]s
  stop          Ctrl-C

`, base, dir, st.tokens[0].Secret, sample)
}
