// Package world is a broker, a database and the service's processes on them, for programs that measure.
//
// In: the orderbox program and a directory. Out: servers as `orderbox up` starts them, durable settings and all, and more
// databases on them; processes of `orderbox serve` with the stages asked for; messages published, or copied into the log.
//
// Concurrency: the broker runs in this process, PostgreSQL is its child, and so is every Service, each of which has a
// goroutine that waits for its end. The methods of a World are for one goroutine at a time, but for Publish.
//
// Not here: what is measured (package bench).
package world

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/internal/local"
	"orderbox/publisher"
	"orderbox/sql"
)

const (
	cluster  = "orderbox"
	channel  = "orders"
	database = "orderbox"
	stopWait = 30 * time.Second
)

// Options says where a world is and for whom.
type Options struct {
	Dir     string // of the servers' state, made when missing
	Program string // the service
	// JetStream has the broker offer that as well.
	JetStream bool
}

// World is one broker and one database. Make it with Start, or with Beside.
type World struct {
	// Conn is the superuser's, with the search path public.
	Conn *pgx.Conn
	// DatabaseURL is the service's.
	DatabaseURL string

	dir, program string
	password     string // of the service's role
	postgres     *local.Postgres
	stan         *local.STAN
	beside       bool // the servers are another world's
}

// Start starts the servers on what is there.
func Start(ctx context.Context, o Options) (_ *World, err error) {
	dir := o.Dir
	w := &World{dir: dir, program: o.Program, password: rand.Text()}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	// Others may pass through: run as root, PostgreSQL is another user.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	if w.postgres, err = local.StartPostgres(ctx, local.PostgresOptions{Dir: filepath.Join(dir, "postgres"), Durable: true}); err != nil {
		return nil, err
	}
	offer := local.STANOptions{Dir: filepath.Join(dir, "stan"), ClusterID: cluster}
	if o.JetStream {
		offer.JetStream = filepath.Join(dir, "jetstream")
	}
	if w.stan, err = local.StartSTAN(offer); err != nil {
		return nil, err
	}
	return w, w.open(ctx, database)
}

// Beside is a world with another database on the same servers, which go on when it is closed.
func (w *World) Beside(ctx context.Context, database string) (*World, error) {
	b := &World{dir: w.dir, program: w.program, password: w.password, postgres: w.postgres, stan: w.stan, beside: true}
	if err := b.open(ctx, database); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// open makes the database, if it is not there, and connects to it.
func (w *World) open(ctx context.Context, database string) error {
	if _, err := sql.Migrate(ctx, sql.MigrateOptions{AdminURL: w.postgres.URL("postgres"), Database: database, Password: w.password}); err != nil {
		return err
	}
	u, err := url.Parse(w.postgres.URL(database))
	if err != nil {
		return err
	}
	u.User = url.UserPassword("orderbox", w.password)
	w.DatabaseURL = u.String()
	w.Conn, err = pgx.Connect(ctx, w.postgres.URL(database))
	return err
}

// Close stops the servers.
func (w *World) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	if w.Conn != nil {
		w.Conn.Close(ctx)
	}
	if w.beside {
		return nil
	}
	if w.stan != nil {
		w.stan.Stop()
	}
	if w.postgres != nil {
		return w.postgres.Stop(ctx)
	}
	return nil
}

// Publish publishes the messages as fast as they come, and returns when the broker has all of them.
func (w *World) Publish(ctx context.Context, messages func(yield func([]byte, error) bool)) error {
	p, err := publisher.New(publisher.Options{URL: w.stan.URL(), Cluster: cluster, Channel: channel})
	if err != nil {
		return err
	}
	r, err := p.Publish(ctx, messages)
	if err == nil && r.Retried > 0 {
		err = fmt.Errorf("%d messages were published again: the broker is overloaded", r.Retried)
	}
	return err
}

// Balance is how far the world has come, at an instant by the database's clock.
type Balance struct {
	Received int64 // position of the last message in the log
	Position int64 // up to which all is projected
	Orders   int64
	At       time.Time
}

// Pending says whether there are messages that were not projected yet.
func (b Balance) Pending() bool { return b.Position < b.Received }

// Balance reads it; before there is a generation only Received and At are set.
func (w *World) Balance(ctx context.Context) (b Balance, err error) {
	if err := w.Conn.QueryRow(ctx, `select coalesce(max(position), 0), clock_timestamp() from inbox`).Scan(&b.Received, &b.At); err != nil {
		return b, err
	}
	generation, err := w.Generation(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		return b, nil
	}
	if err == nil {
		err = w.Conn.QueryRow(ctx, `select position, orders, clock_timestamp() from `+generation+`.checkpoint`).Scan(&b.Position, &b.Orders, &b.At)
	}
	return b, err
}

// Generation is the quoted name of the schema in service.
func (w *World) Generation(ctx context.Context) (string, error) {
	var name string
	err := w.Conn.QueryRow(ctx, `select name from generations where state = 'current'`).Scan(&name)
	return pgx.Identifier{name}.Sanitize(), err
}

// Await polls until done says so about the balance, and returns that one. Every says how often.
func (w *World) Await(ctx context.Context, every time.Duration, done func(Balance) bool) (Balance, error) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		b, err := w.Balance(ctx)
		if err != nil || done(b) {
			return b, err
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return b, context.Cause(ctx)
		}
	}
}

// Rest lets the database write what it has put off, so that nothing of what was done before is left to what is
// measured next.
func (w *World) Rest(ctx context.Context) error {
	_, err := w.Conn.Exec(ctx, `checkpoint`)
	return err
}

// Settle is Rest, and does beforehand what autovacuum would begin while something is measured.
func (w *World) Settle(ctx context.Context) error {
	if _, err := w.Conn.Exec(ctx, `vacuum (analyze)`); err != nil {
		return err
	}
	return w.Rest(ctx)
}
