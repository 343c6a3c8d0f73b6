package main

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/ingest"
	"orderbox/internal/cli"
	"orderbox/internal/retry"
	"orderbox/internal/verify"
)

const (
	// arrivalPatience is how long the log may stand still before what it lacks is not on its way, but lacking.
	arrivalPatience = 5 * time.Second
	arrivalPoll     = 250 * time.Millisecond
)

var errLacking = errors.New("the log lacks messages that the broker has")

// compareBrokers asks each source what it has, and waits for as long as what the log lacks of it grows less.
func (c *verifyCommand) compareBrokers(ctx context.Context, pool *pgxpool.Pool) (all []verify.Broker, err error) {
	for _, source := range c.Sources {
		held, err := ingest.Ask(ctx, ingest.Options{URL: c.url(source), Cluster: c.Cluster, Stream: c.stream(source), Channel: c.Channel,
			TLS: c.Files, ClientID: "verify-" + rand.Text()})
		if err != nil {
			return nil, cli.Try(err, "check --nats-url, --stan-cluster and --channel, or --stream-url and --stream, and --source")
		}
		b := verify.Broker{Source: held.Source, Channel: held.Channel, First: held.First, Last: held.Last, Since: held.Since}
		if err := waitForArrivals(ctx, pool, &b); err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

func waitForArrivals(ctx context.Context, pool *pgxpool.Pool, b *verify.Broker) error {
	least, since := int64(-1), time.Now()
	for {
		if err := verify.CheckBroker(ctx, pool, b); err != nil {
			return cli.Try(err, "check that the database of --database-url is up and migrated")
		}
		if least < 0 || b.Lacking < least {
			least, since = b.Lacking, time.Now()
		}
		if b.Lacking == 0 || time.Since(since) > arrivalPatience {
			return nil
		}
		if err := retry.Wait(ctx, arrivalPoll); err != nil {
			return err
		}
	}
}

// lacks says whether a broker has what the log has not.
func (v verified) lacks() bool {
	for _, b := range v.Brokers {
		if b.Lacking > 0 {
			return true
		}
	}
	return false
}

func printBrokers(line func(format string, args ...any), brokers []verify.Broker) {
	for _, b := range brokers {
		if b.Last == 0 {
			line("broker        %10d", 0)
			continue
		}
		line("broker        %10d", b.Last-b.First+1)
		line("  %s channel %s, sequences %d to %d: the log lacks %d", b.Source, b.Channel, b.First, b.Last, b.Lacking)
		for _, r := range b.Ranges {
			line("  %s channel %s, sequences %d to %d are not in the log", b.Source, b.Channel, r.From, r.To)
		}
	}
}
