package testservers

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"orderbox/internal/local"
)

// OwnedPostgres is a PostgreSQL server of one test, which stops and starts it as it likes. Its methods
// fail the test when they cannot; call them from the test's goroutine, one at a time.
type OwnedPostgres struct {
	tb      testing.TB
	options local.PostgresOptions
	server  *local.Postgres
	clock   string // the file that says how far off the server's is; only with one of its own
}

// OwnPostgres starts a PostgreSQL server for this test alone, with settings as name=value. It ends with the test.
func OwnPostgres(tb testing.TB, settings ...string) *OwnedPostgres {
	tb.Helper()
	p := &OwnedPostgres{tb: tb, options: local.PostgresOptions{Dir: filepath.Join(Dir(tb), "postgres"), Settings: map[string]string{}}}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		p.options.Settings[name] = value
	}
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

// Log returns what the server has logged so far.
func (p *OwnedPostgres) Log() string {
	p.tb.Helper()
	log, err := os.ReadFile(filepath.Join(p.options.Dir, "postgres.log"))
	if err != nil {
		p.tb.Fatal(err)
	}
	return string(log)
}

// SmallDisk makes a disk of so many bytes in memory that belongs to the server's user, and returns where it is
// mounted. It takes root; others skip the test.
func (p *OwnedPostgres) SmallDisk(bytes int64) (dir string) {
	p.tb.Helper()
	dir = filepath.Join(Dir(p.tb), "disk")
	data, err := os.Stat(filepath.Join(p.options.Dir, "data"))
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		p.tb.Fatal(err)
	}
	owner := data.Sys().(*syscall.Stat_t)
	options := fmt.Sprintf("size=%d,mode=0700,uid=%d,gid=%d", bytes, owner.Uid, owner.Gid)
	if err := syscall.Mount("none", dir, "tmpfs", 0, options); err != nil {
		p.tb.Skipf("no small disk can be mounted: %v", err)
	}
	p.tb.Cleanup(func() {
		p.Stop() // it works there
		if err := syscall.Unmount(dir, 0); err != nil {
			p.tb.Error(err)
		}
	})
	return dir
}

// Pause stops the server's processes where they are, as kill -STOP does: connections stay, and nothing answers.
// They go on with Resume, or when the test ends.
func (p *OwnedPostgres) Pause() {
	p.tb.Helper()
	p.tb.Cleanup(p.Resume) // before Stop, which they would not hear
	p.signal(syscall.SIGSTOP)
}

// Resume lets the processes go on.
func (p *OwnedPostgres) Resume() {
	p.tb.Helper()
	p.signal(syscall.SIGCONT)
}

// signal reaches the postmaster first, so that it starts no more while its children are gone through.
func (p *OwnedPostgres) signal(s syscall.Signal) {
	p.tb.Helper()
	text, err := os.ReadFile(filepath.Join(p.options.Dir, "data", "postmaster.pid"))
	if err != nil {
		p.tb.Fatalf("find the test's PostgreSQL: %v", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	postmaster, err := strconv.Atoi(first)
	if err == nil {
		err = syscall.Kill(postmaster, s)
	}
	if err != nil {
		p.tb.Fatalf("signal the test's PostgreSQL: %v", err)
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		p.tb.Skipf("processes are not to be seen in /proc: %v", err)
	}
	for _, name := range stats {
		stat, _ := os.ReadFile(name) // it may have ended
		// pid (name) state parent …, and a name may hold anything.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 2 || fields[1] != first {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			syscall.Kill(pid, s)
		}
	}
}

// OwnedBroker is a STAN server of one test, which stops and starts it as it likes. Its methods fail the
// test when they cannot; call them from the test's goroutine, one at a time.
type OwnedBroker struct {
	STAN
	tb      testing.TB
	options local.STANOptions
	server  *local.STAN
}

// OwnBroker starts a STAN server with a store on disk, which offers JetStream as well, for this test alone. It ends with the test.
func OwnBroker(tb testing.TB) *OwnedBroker {
	tb.Helper()
	return OwnBrokerKeeping(tb, 0)
}

// OwnBrokerKeeping is OwnBroker, dropping the oldest messages of a channel beyond so many.
func OwnBrokerKeeping(tb testing.TB, messages int) *OwnedBroker {
	tb.Helper()
	b := &OwnedBroker{tb: tb, options: local.STANOptions{
		Dir: filepath.Join(Dir(tb), "stan"), ClusterID: testCluster, MaxMessages: messages, JetStream: filepath.Join(Dir(tb), "streams")}}
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
	for _, dir := range []string{b.options.Dir, b.options.JetStream} {
		if err := os.RemoveAll(dir); err != nil {
			b.tb.Fatalf("wipe the test's broker: %v", err)
		}
	}
	b.Start()
}

// Dir makes a directory that every user may pass through, unlike testing's own, so that PostgreSQL's data
// stays in it when root runs the tests. It is removed after the test, once what was registered later is done.
//
// Whoever asks for one has servers of its own, on this machine, or a browser, and gains nothing from containers for the
// others: a -short run in containers skips it.
func Dir(tb testing.TB) string {
	tb.Helper()
	if kind, err := run.kind(); testing.Short() && err == nil && kind == containers {
		tb.Skip("is the same without containers: run it there, or without -short")
	}
	dir, err := makeDir()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		// A server whose program was killed ends a moment later, and writes until then.
		Eventually(tb, "the directory is removed", func() bool { return os.RemoveAll(dir) == nil })
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

// OwnPostgresWithClock is OwnPostgres, whose clock the test moves with Jump. It needs libfaketime, and skips the test
// where that is not installed, unless CI=true. The test must not be parallel.
func OwnPostgresWithClock(tb testing.TB) *OwnedPostgres {
	tb.Helper()
	found, err := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	switch {
	case err != nil:
		tb.Fatal(err)
	case len(found) == 0 && os.Getenv("CI") == "true":
		tb.Fatal("libfaketime is not installed: apt-get install libfaketime")
	case len(found) == 0:
		tb.Skip("libfaketime is not installed: apt-get install libfaketime")
	}
	offset := filepath.Join(Dir(tb), "offset")
	for name, value := range map[string]string{"LD_PRELOAD": found[0], "FAKETIME_TIMESTAMP_FILE": offset, "FAKETIME_NO_CACHE": "1",
		"DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"} {
		tb.Setenv(name, value)
	}
	moveClock(tb, offset, 0)
	p := OwnPostgres(tb)
	p.clock = offset
	if err := os.Unsetenv("LD_PRELOAD"); err != nil { // the server alone
		tb.Fatal(err)
	}
	return p
}

// Jump sets the server's clock so much ahead of this machine's, or behind it, at once.
func (p *OwnedPostgres) Jump(offset time.Duration) {
	p.tb.Helper()
	moveClock(p.tb, p.clock, offset)
}

// moveClock replaces the file whole, for it is read all the time.
func moveClock(tb testing.TB, file string, offset time.Duration) {
	tb.Helper()
	err := os.WriteFile(file+".new", fmt.Appendf(nil, "%+d\n", int64(offset.Seconds())), 0o644)
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		tb.Fatal(err)
	}
}
