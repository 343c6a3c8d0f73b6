package testservers

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"orderbox/internal/local"
)

// OwnedPostgres is a PostgreSQL server of one test, which stops and starts it as it likes. Its methods
// fail the test when they cannot; call them from the test's goroutine, one at a time.
type OwnedPostgres struct {
	tb      testing.TB
	options local.PostgresOptions
	server  *local.Postgres
}

// OwnPostgres starts a PostgreSQL server for this test alone. It ends with the test.
func OwnPostgres(tb testing.TB) *OwnedPostgres {
	tb.Helper()
	p := &OwnedPostgres{tb: tb, options: local.PostgresOptions{Dir: filepath.Join(Dir(tb), "postgres")}}
	p.Start()
	p.options.Port = p.server.Port() // the next starts take the same
	tb.Cleanup(p.Stop)
	return p
}

// Database migrates the database orderbox and returns it.
func (p *OwnedPostgres) Database() DB {
	p.tb.Helper()
	db, err := Migrate(context.Background(), p.server.URL("postgres"))
	if err != nil {
		p.tb.Fatalf("migrate the test's database: %v", err)
	}
	return db
}

// Start starts the server again, on the same port and data.
func (p *OwnedPostgres) Start() {
	p.tb.Helper()
	server, err := local.StartPostgres(context.Background(), p.options)
	if err != nil {
		p.tb.Fatalf("start the test's PostgreSQL: %v", err)
	}
	p.server = server
}

// Stop stops the server in an orderly way: connections end, nothing committed is lost.
func (p *OwnedPostgres) Stop() {
	p.tb.Helper()
	if err := p.server.Stop(context.Background()); err != nil {
		p.tb.Errorf("stop the test's PostgreSQL: %v", err)
	}
}

// Crash ends the server at once: the next start replays its log.
func (p *OwnedPostgres) Crash() {
	p.tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.server.Stop(ctx) // the error says that it had no time
}

// OwnedBroker is a STAN server of one test, which stops and starts it as it likes. Its methods fail the
// test when they cannot; call them from the test's goroutine, one at a time.
type OwnedBroker struct {
	STAN
	tb      testing.TB
	options local.STANOptions
	server  *local.STAN
}

// OwnBroker starts a STAN server with a store on disk for this test alone. It ends with the test.
func OwnBroker(tb testing.TB) *OwnedBroker {
	tb.Helper()
	return OwnBrokerKeeping(tb, 0)
}

// OwnBrokerKeeping is OwnBroker, dropping the oldest messages of a channel beyond so many.
func OwnBrokerKeeping(tb testing.TB, messages int) *OwnedBroker {
	tb.Helper()
	b := &OwnedBroker{tb: tb, options: local.STANOptions{Dir: filepath.Join(Dir(tb), "stan"), ClusterID: testCluster, MaxMessages: messages}}
	b.Start()
	b.STAN = STAN{URL: b.server.URL(), Cluster: testCluster}
	u, err := url.Parse(b.URL)
	if err == nil {
		b.options.Port, err = strconv.Atoi(u.Port()) // the next starts take the same
	}
	if err != nil {
		tb.Fatalf("the test's STAN server is at %s: %v", b.URL, err)
	}
	tb.Cleanup(b.Stop)
	return b
}

// Start starts the server again, on the same port and store.
func (b *OwnedBroker) Start() {
	b.tb.Helper()
	server, err := local.StartSTAN(b.options)
	if err != nil {
		b.tb.Fatalf("start the test's STAN server: %v", err)
	}
	b.server = server
}

// Stop stops the server; what it confirmed stays in its store.
func (b *OwnedBroker) Stop() { b.server.Stop() }

// Wipe stops the server and starts it with an empty store: without messages and durables, and counting
// from 1 again.
func (b *OwnedBroker) Wipe() {
	b.tb.Helper()
	b.Stop()
	if err := os.RemoveAll(b.options.Dir); err != nil {
		b.tb.Fatalf("wipe the test's STAN store: %v", err)
	}
	b.Start()
}

// Dir makes a directory that every user may pass through, unlike testing's own, so that PostgreSQL's data
// stays in it when root runs the tests. It is removed after the test, once what was registered later is done.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir, err := makeDir()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

// Secure starts the server again so that it also talks TLS, with a certificate of an authority's for 127.0.0.1.
func (p *OwnedPostgres) Secure(a *Authority) {
	p.tb.Helper()
	cert, key := a.Issue()
	data, err := os.Stat(filepath.Join(p.options.Dir, "data"))
	if err != nil {
		p.tb.Fatal(err)
	}
	// The server reads no key that others than itself can.
	owner := data.Sys().(*syscall.Stat_t)
	for _, file := range []string{cert, key} {
		if err := os.Chown(file, int(owner.Uid), int(owner.Gid)); err != nil {
			p.tb.Fatal(err)
		}
	}
	p.Stop()
	p.options.Settings = map[string]string{"ssl": "on", "ssl_cert_file": cert, "ssl_key_file": key}
	p.Start()
}
