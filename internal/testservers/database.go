package testservers

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/internal/local"
	"orderbox/sql"
)

const (
	// Password is that of every role, of the superuser in a container too.
	Password = "test"
	// template is the database that the tests' databases are cloned from.
	template = "orderbox_template"
	// maxConnections lets many tests run in parallel, each with pools of its own.
	maxConnections = "max_connections=200"
	// migrateTimeout bounds what is done once, createTimeout what is done for each test.
	migrateTimeout, createTimeout = time.Minute, 30 * time.Second
)

// DB is a migrated database, by the roles that log in to it.
type DB struct {
	ServiceURL string // as orderbox
	ReaderURL  string // as orderbox_reader
	AdminURL   string // as the superuser
}

// Database returns a migrated, empty database of the test's own. It is dropped after the test, whoever
// is still connected.
func Database(tb testing.TB) DB {
	tb.Helper()
	server, err := run.postgres()
	if err != nil {
		tb.Fatalf("start PostgreSQL for tests: %v", err)
	}
	name := "test_" + strings.ToLower(rand.Text())
	if err := server.create(name); err != nil {
		tb.Fatalf("make the test's database: %v", err)
	}
	tb.Cleanup(func() {
		if err := server.drop(name); err != nil {
			tb.Errorf("drop the test's database: %v", err)
		}
	})
	return newDB(server.superuser(name))
}

// newDB is the database that the superuser's URL names.
func newDB(admin string) DB {
	as := func(role string) string {
		u, err := url.Parse(admin)
		if err != nil {
			panic(err) // made by this package or by local
		}
		u.User = url.UserPassword(role, Password)
		return u.String()
	}
	return DB{ServiceURL: as("orderbox"), ReaderURL: as("orderbox_reader"), AdminURL: admin}
}

// Migrate makes the database orderbox on the server that the superuser's URL names.
func Migrate(ctx context.Context, admin string) (DB, error) {
	ctx, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	if err := migrate(ctx, admin, "orderbox"); err != nil {
		return DB{}, err
	}
	u, err := url.Parse(admin)
	if err != nil {
		return DB{}, err
	}
	u.Path = "/orderbox"
	return newDB(u.String()), nil
}

func migrate(ctx context.Context, admin, database string) error {
	_, err := sql.Migrate(ctx, sql.MigrateOptions{AdminURL: admin, Database: database, Password: Password, ReaderPassword: Password})
	return err
}

// cluster is the shared PostgreSQL server.
type cluster struct {
	superuser func(database string) string

	mu   sync.Mutex // one database at a time: a clone is disk work, more at once are not faster
	conn *pgx.Conn
}

// startPostgres starts the server, migrates the template, and connects.
func (s *servers) startPostgres() (*cluster, error) {
	kind, err := s.kind()
	if err != nil {
		return nil, err
	}
	c := &cluster{}
	switch kind {
	case containers:
		c.superuser, err = s.postgresContainer()
	case onMachine:
		c.superuser, err = s.postgresOnMachine()
	}
	if err != nil {
		return nil, err
	}

	ctx, cancel := context.WithTimeout(context.Background(), migrateTimeout)
	defer cancel()
	if err := migrate(ctx, c.superuser("postgres"), template); err != nil {
		return nil, err
	}
	if c.conn, err = pgx.Connect(ctx, c.superuser("postgres")); err != nil {
		return nil, err
	}
	s.onStop(func() error { return c.conn.Close(context.Background()) })
	return c, nil
}

func (s *servers) postgresOnMachine() (func(database string) string, error) {
	dir, err := makeDir()
	if err != nil {
		return nil, err
	}
	s.onStop(func() error { return os.RemoveAll(dir) })
	name, value, _ := strings.Cut(maxConnections, "=")
	server, err := local.StartPostgres(context.Background(), local.PostgresOptions{
		Dir: filepath.Join(dir, "postgres"), Settings: map[string]string{name: value},
	})
	if err != nil {
		return nil, err
	}
	s.onStop(func() error { return server.Stop(context.Background()) })
	return server.URL, nil
}

// create clones the template. The clone's owner is the template's, whom the schema public belongs to by
// that; file_copy is the faster strategy for a database this small when nothing waits for the disk.
func (c *cluster) create(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), createTimeout)
	defer cancel()
	_, err := c.conn.Exec(ctx, "create database "+pgx.Identifier{name}.Sanitize()+
		" owner orderbox_owner template "+template+" strategy file_copy")
	if err != nil {
		return fmt.Errorf("clone %s: %w", template, err)
	}
	return sql.GrantDatabase(ctx, c.conn, name)
}

func (c *cluster) drop(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), createTimeout)
	defer cancel()
	_, err := c.conn.Exec(ctx, "drop database "+pgx.Identifier{name}.Sanitize()+" with (force)")
	return err
}
