package local

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestPostgresKeepsDataAcrossStarts(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	first := mustStart(t, PostgresOptions{Dir: dir})
	mustQuery(t, first, "create table kept (note text)")
	mustQuery(t, first, "insert into kept values ('from the first start')")
	mustStop(t, first)
	if err := first.Err(); err != nil {
		t.Errorf("a server that was stopped reports %v", err)
	}

	second := mustStart(t, PostgresOptions{Dir: dir, Durable: true, Port: first.Port()})
	if got := mustQuery(t, second, "select note from kept"); got != "from the first start" {
		t.Errorf("found %q", got)
	}
	if got := mustQuery(t, second, "show fsync"); got != "on" {
		t.Errorf("a durable server has fsync %s", got)
	}
	if got := mustQuery(t, second, "select datcollate || ' ' || pg_encoding_to_char(encoding) from pg_database where datname = 'postgres'"); got != "C UTF8" {
		t.Errorf("the database sorts and encodes by %s", got)
	}
}

func TestPostgresLogsNoRows(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	p := mustStart(t, PostgresOptions{Dir: dir})
	mustQuery(t, p, "create table people (name text primary key)")
	mustQuery(t, p, "insert into people values ('Zyxwvut')")
	conn, err := pgx.Connect(t.Context(), p.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "insert into people values ('Zyxwvut')"); err == nil {
		t.Fatal("the same twice")
	}
	log, err := os.ReadFile(filepath.Join(dir, "postgres.log"))
	if err != nil || !strings.Contains(string(log), "people_pkey") || strings.Contains(string(log), "Zyxwvut") {
		t.Errorf("%v, the log says\n%s", err, log)
	}
}

func TestPostgresTellsWhenItEndsByItself(t *testing.T) {
	t.Parallel()
	p := mustStart(t, PostgresOptions{Dir: openDir(t)})
	if p.Err() != nil {
		t.Errorf("a running server reports %v", p.Err())
	}
	p.process.Kill()
	<-p.Done()
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "stopped by itself") {
		t.Errorf("a killed server reports %v", err)
	}
}

func TestPostgresStopInTimeOrAtOnce(t *testing.T) {
	t.Parallel()
	p := mustStart(t, PostgresOptions{Dir: openDir(t)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Stop(ctx); err != nil && !strings.Contains(err.Error(), "ended at once") {
		t.Errorf("stopping with no time left reports %v", err)
	}
	<-p.Done()
}

func TestPostgresIsTakenOverFromARunThatWasKilled(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	if got := mustRunAndKill(t, "postgres", dir); got != "written" {
		t.Fatalf("the program said %q", got)
	}
	p := mustStart(t, PostgresOptions{Dir: dir})
	if got := mustQuery(t, p, "select note from kept"); got != "from the run that was killed" {
		t.Errorf("found %q", got)
	}
	if servers := serversOn(t, p.data); servers != 1 {
		t.Errorf("%d servers work on %s", servers, p.data)
	}
}

// postgresProgram writes a row and waits to be killed.
func postgresProgram(dir string) error {
	ctx := context.Background()
	p, err := StartPostgres(ctx, PostgresOptions{Dir: dir, Durable: true})
	if err != nil {
		return err
	}
	if _, err := query(ctx, p, "create table kept (note text)"); err != nil {
		return err
	}
	if _, err := query(ctx, p, "insert into kept values ('from the run that was killed')"); err != nil {
		return err
	}
	return ready("written")
}

// serversOn counts the PostgreSQL servers on data, where the system has a way to list processes.
func serversOn(t *testing.T, data string) int {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(processes) == 0 {
		t.Skip("no /proc to list processes by")
	}
	count := 0
	for _, process := range processes {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(process), "%d", &pid); err == nil && isServerOn(pid, data) {
			count++
		}
	}
	return count
}

func TestPostgresStopsAnEarlierServerOnItsData(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	earlier := mustStart(t, PostgresOptions{Dir: dir})
	later := mustStart(t, PostgresOptions{Dir: dir, Port: earlier.Port()})
	select {
	case <-earlier.Done():
	default:
		t.Error("two servers work on the same data")
	}
	mustQuery(t, later, "select 'up'")
}

func TestPostgresStartsOverAStaleProcessID(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	p := mustStart(t, PostgresOptions{Dir: dir})
	mustStop(t, p)
	// As after a reboot: the number in the file is now somebody else's, and he must not be signalled.
	content := fmt.Sprintf("%d\n%s\n1\n5432\n\n127.0.0.1\n", os.Getpid(), p.data)
	if err := os.WriteFile(filepath.Join(p.data, "postmaster.pid"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	mustQuery(t, mustStart(t, PostgresOptions{Dir: dir}), "select 'up'")
}

func TestPostgresBeginsAnInterruptedInitialisationAgain(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	half := filepath.Join(dir, "data.init")
	if err := os.MkdirAll(filepath.Join(half, "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(half, "PG_VERSION"), half + ".password"} {
		if err := os.WriteFile(path, []byte("15\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustQuery(t, mustStart(t, PostgresOptions{Dir: dir}), "select 'up'")
	if left, _ := filepath.Glob(half + "*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPostgresRunsWhereOnlyRootMayPass(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user's PostgreSQL runs as that user, who may pass")
	}
	dir := filepath.Join(t.TempDir(), "state") // below a directory of mode 0700
	removeData := func() {
		if target, err := os.Readlink(filepath.Join(dir, "data")); err == nil {
			os.RemoveAll(target)
		}
	}
	t.Cleanup(removeData)

	first := mustStart(t, PostgresOptions{Dir: dir})
	mustQuery(t, first, "create table kept (note text)")
	mustStop(t, first)
	if !strings.HasPrefix(first.data, systemDir+"/") {
		t.Errorf("data is in %s", first.data)
	}
	second := mustStart(t, PostgresOptions{Dir: dir})
	mustQuery(t, second, "select note from kept")
	mustStop(t, second)

	removeData()
	_, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "is gone: bring it back") {
		t.Errorf("with its data gone the server says %v", err)
	}
}

func TestPostgresNamesThePortThatIsTaken(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port
	_, err = StartPostgres(t.Context(), PostgresOptions{Dir: openDir(t), Port: port})
	if want := fmt.Sprintf("port %d on 127.0.0.1 is taken", port); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestPostgresQuotesItsLogWhenItCannotStart(t *testing.T) {
	t.Parallel()
	_, err := StartPostgres(t.Context(), PostgresOptions{Dir: openDir(t), Settings: map[string]string{"shared_buffers": "nonsense"}})
	if err == nil || !strings.Contains(err.Error(), "shared_buffers") {
		t.Errorf("error is %v", err)
	}
}

func TestPostgresStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if p, err := StartPostgres(ctx, PostgresOptions{Dir: openDir(t)}); err == nil {
		mustStop(t, p)
		t.Error("initialised and started within 50 ms")
	}
}

func TestDataDirectoryHasOneUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); err == nil || !strings.Contains(err.Error(), "another `orderbox up`") {
		t.Errorf("the second user is told %v", err)
	}
	if err := first.Unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Unlock(); err != nil {
		t.Error(err)
	}
}
