package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"orderbox/internal/cli"
	"orderbox/internal/contract"
	"orderbox/internal/envfile"
	"orderbox/internal/testservers"
	"orderbox/internal/verify"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// asProgram makes the test binary be orderbox itself, for tests that kill it.
const asProgram = "ORDERBOX_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		cli.Main(new(commands), options()...)
	}
	testservers.Main(m)
}

// inFull makes some tests as large as they are meant to be; they are a small part of it otherwise.
var inFull = os.Getenv("ORDERBOX_TEST_FULL") != ""

func sized(full, quick int) int {
	if inFull {
		return full
	}
	return quick
}

// runOrderbox runs a command in this process and returns its exit code and what it printed.
func runOrderbox(ctx context.Context, args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = cli.Run(ctx, args, cli.Streams{In: strings.NewReader(""), Out: &o, Err: &e}, new(commands), options()...)
	return code, o.String(), e.String()
}

// program is a running orderbox that can be killed.
type program struct {
	tb  testing.TB
	cmd *exec.Cmd
	log testservers.Buffer
}

// mustProgram starts orderbox as a process of its own, which ends with the test.
func mustProgram(tb testing.TB, env []string, args ...string) *program {
	tb.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), env...)
	return mustStart(tb, cmd)
}

// mustStart starts what is orderbox; it ends with the test.
func mustStart(tb testing.TB, cmd *exec.Cmd) *program {
	tb.Helper()
	p := &program{tb: tb, cmd: cmd}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		p.kill()
		if tb.Failed() {
			tb.Logf("orderbox %s printed\n%s", strings.Join(cmd.Args[1:], " "), p.log.String())
		}
	})
	return p
}

// kill ends the program as kill -9 does; twice is once.
func (p *program) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// mustStop ends the program as Ctrl-C does.
func (p *program) mustStop() {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.tb.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.tb.Errorf("stopping: %v", err)
	}
}

// mustEnv waits until `up` has written its file and is ready, and returns the file.
func mustEnv(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	var env map[string]string
	testservers.Eventually(tb, "up is ready", func() bool {
		var err error
		env, err = envfile.Read(filepath.Join(dir, "env"))
		return err == nil && env["ORDERBOX_URL"] != "" && askReady(tb.Context(), env["ORDERBOX_URL"]) == nil
	})
	return env
}

// mustServe starts the service against these servers and returns it when it is ready, with its address.
func mustServe(tb testing.TB, db testservers.DB, broker testservers.STAN, channel string, args ...string) (p *program, address string) {
	tb.Helper()
	listener, err := listen(tb.Context(), "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	address = listener.Addr().String()
	listener.Close()
	p = mustProgram(tb, []string{"ORDERBOX_DATABASE_URL=" + db.ServiceURL, "ORDERBOX_NATS_URL=" + broker.URL,
		"ORDERBOX_STAN_CLUSTER=" + broker.Cluster, "ORDERBOX_CHANNEL=" + channel, "ORDERBOX_CLIENT_ID=" + channel},
		append([]string{"serve", "--listen", address}, args...)...)
	testservers.Eventually(tb, "the service is ready", func() bool { return askReady(tb.Context(), "http://"+address) == nil })
	return p, address
}

// mustDecide waits until so many messages were received and decided, and checks the laws.
func mustDecide(tb testing.TB, db testservers.DB, messages int64) verify.Report {
	tb.Helper()
	pool := testservers.Open(tb, db.AdminURL, 1)
	for decided, done := int64(0), false; !done; {
		testservers.Eventually(tb, fmt.Sprintf("more than %d of %d messages are decided", decided, messages), func() bool {
			b, err := verify.Stats(tb.Context(), pool)
			more := err == nil && b.Received-b.Pending > decided
			if more {
				decided, done = b.Received-b.Pending, b.Received >= messages && b.Pending == 0
			}
			return more || done
		})
	}
	return mustCheck(tb, db.ServiceURL)
}

// get asks the service and returns the status and the body.
func get(tb testing.TB, url, token string) (int, string) {
	tb.Helper()
	request, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		tb.Fatal(err)
	}
	if strings.HasPrefix(request.URL.Path, "/api/") {
		c, err := documented()
		if err == nil {
			_, err = c.Check(request, nil, response, body)
		}
		if err != nil {
			tb.Errorf("%s: %v", url, err)
		}
	}
	return response.StatusCode, string(body)
}

// documented is what the answers are held against.
var documented = sync.OnceValues(func() (*contract.Contract, error) {
	text, err := os.ReadFile("../../query/openapi.yaml")
	if err != nil {
		return nil, err
	}
	return contract.Parse(text)
})

func TestHelp(t *testing.T) {
	for _, command := range []string{"", "up", "serve", "migrate", "replay", "verify", "cutover", "archive", "restore", "ready", "dead-letters",
		"dead-letters list", "dead-letters groups", "dead-letters show", "dead-letters payload", "dead-letters reproduce",
		"dead-letters retry", "dead-letters amend", "dead-letters discard", "dead-letters reopen", "completion"} {
		args, name := []string{"--help"}, "orderbox"
		if command != "" {
			args, name = append(strings.Fields(command), "--help"), strings.ReplaceAll(command, " ", "-")
		}
		code, out, errs := runOrderbox(t.Context(), args...)
		if code != 0 || errs != "" {
			t.Errorf("%v: exit code %d, %s", args, code, errs)
		}
		golden := filepath.Join("testdata", "help", name+".txt")
		if *update {
			if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(golden, []byte(out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out, "Example") {
			t.Errorf("%s has no examples", golden)
		}
		if out != string(want) {
			t.Errorf("%s is not what --help says: go test ./cmd/orderbox -update, and look at the difference", golden)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Setenv("ORDERBOX_DATABASE_URL", "")
	t.Setenv("ORDERBOX_OPERATOR_TOKEN", "")
	nowhere := t.TempDir()
	taken, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"serve --foo", 2, "orderbox: unknown flag --foo\ntry: orderbox serve --help\n"},
		{"", 2, "orderbox: expected one of \"up\", \"serve\", \"migrate\", \"replay\", \"dead-letters\", ...\ntry: orderbox --help\n"},
		{"serve --stages ingest,frobnicate", 2, "orderbox: --stages must be one of \"ingest\",\"projector\",\"query\" but got \"frobnicate\"\ntry: orderbox serve --help\n"},
		{"serve --data " + nowhere, 1, "orderbox: no database is named\ntry: set ORDERBOX_DATABASE_URL, or start one with: orderbox up\n"},
		{"verify --data " + nowhere, 1, "orderbox: no database is named\ntry: set ORDERBOX_DATABASE_URL, or start one with: orderbox up\n"},
		{"dead-letters list --data " + nowhere, 1,
			"orderbox: no operator token is given\ntry: set ORDERBOX_OPERATOR_TOKEN, or --data to the directory of orderbox up\n"},
		{"dead-letters list --operator-token x --url http://127.0.0.1:1", 1,
			"orderbox: no service answers at http://127.0.0.1:1\ntry: orderbox up, or --url and ORDERBOX_URL name one that runs\n"},
		{"dead-letters list --since yesterday", 2, "orderbox: --since: a time is 2026-11-24 or 2026-11-24T12:00:00Z, both UTC, or how long ago, such as 90m or 24h\ntry: orderbox dead-letters list --help\n"},
		{"dead-letters retry", 2, "orderbox: dead-letters retry: name dead letters by their ids, or by a filter such as --reason or --state\ntry: orderbox dead-letters retry --help\n"},
		{"dead-letters discard 17", 2, "orderbox: missing flags: --note=TEXT\ntry: orderbox dead-letters discard --help\n"},
		{"dead-letters reopen 17 --state discarded", 2, "orderbox: dead-letters reopen: name dead letters by their ids or by a filter, not by both\ntry: orderbox dead-letters reopen --help\n"},
		{"dead-letters show seventeen", 2, "orderbox: <id>: expected a valid 64 bit int but got \"seventeen\"\ntry: orderbox dead-letters show --help\n"},
		{"serve --stages ingest,query --database-url postgres://127.0.0.1:1/x --listen " + taken.Addr().String(), 1,
			fmt.Sprintf("orderbox: the address %s is taken by another program\ntry: --listen 127.0.0.1:0 for a free port, or stop the other one\n", taken.Addr())},
		{"migrate --data " + nowhere + " --database-url postgres://orderbox:x@127.0.0.1/orderbox", 1,
			"orderbox: no administrator's URL is given\ntry: set ORDERBOX_ADMIN_URL\n"},
		{"migrate --data " + nowhere + " --admin-url postgres://127.0.0.1/postgres --database-url postgres://me:x@127.0.0.1/orderbox", 1,
			"orderbox: the service logs in as the role orderbox, not \"me\"\ntry: postgres://orderbox:PASSWORD@HOST:5432/orderbox\n"},
		{"up --data " + nowhere + " --listen " + taken.Addr().String(), 1,
			fmt.Sprintf("orderbox: the address %s is taken by another program\ntry: --listen 127.0.0.1:0 for a free port, or stop the other one\n", taken.Addr())},
	} {
		if code, _, errs := runOrderbox(t.Context(), strings.Fields(c.args)...); code != c.code || errs != c.want {
			t.Errorf("orderbox %s: exit code %d, want %d; it says\n%swant\n%s", c.args, code, c.code, errs, c.want)
		}
	}
}

func TestADatabaseThatWasNeverMigratedIsSaidSo(t *testing.T) {
	t.Parallel()
	admin := testservers.Database(t).AdminURL
	// The maintenance database of the same server has no tables of ours.
	plain := admin[:strings.LastIndex(admin, "/")] + "/postgres" + admin[strings.LastIndex(admin, "?"):]
	code, _, errs := runOrderbox(t.Context(), "serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--database-url", plain)
	if code != 1 || !strings.HasSuffix(errs, "try: orderbox migrate\n") {
		t.Errorf("exit code %d, it says\n%s", code, errs)
	}
}

func TestSizesAreReadWithTheirUnit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]memorySize{"512MiB": 512 << 20, "2GiB": 2 << 30, "2048KiB": 2 << 20, "1048576": 1 << 20} {
		var s memorySize
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s is %d, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "MiB", "512", "512MB", "-1GiB", "1.5GiB", "1KiBMiB", "1023KiB", "9000000000GiB", "512 MiB"} {
		var s memorySize
		if err := s.UnmarshalText([]byte(text)); err == nil || s != 0 {
			t.Errorf("%q is taken for %d", text, s)
		}
	}
}
