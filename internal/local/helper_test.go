package local

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestMain runs this binary as another program when the environment says so: a process that tests can
// kill -9.
func TestMain(m *testing.M) {
	programs := map[string]func(dir string) error{"postgres": postgresProgram, "stan": stanProgram}
	if program, ok := programs[os.Getenv("LOCAL_TEST_PROGRAM")]; ok {
		if err := program(os.Getenv("LOCAL_TEST_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// ready tells the test that the program's work is done, and waits to be killed, or for the end of the
// test.
func ready(message string) error {
	fmt.Println(message)
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// mustRunAndKill runs the program on dir until it is ready, kills it with SIGKILL and returns what it
// said.
func mustRunAndKill(t *testing.T, program, dir string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "LOCAL_TEST_PROGRAM="+program, "LOCAL_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // open for as long as this process lives
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	cmd.Process.Kill()
	err = cmd.Wait()
	if readErr != nil {
		t.Fatalf("the program ended before it was killed: %v", err)
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the program was to be killed, but: %v", err)
	}
	return strings.TrimSpace(line)
}

// openDir is a directory that every user may reach, unlike t.TempDir: PostgreSQL run by root keeps its
// data in place there.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "orderbox-local-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func mustStart(t *testing.T, o PostgresOptions) *Postgres {
	t.Helper()
	p, err := StartPostgres(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustStop(t, p) })
	return p
}

func mustStop(t *testing.T, p *Postgres) {
	t.Helper()
	if err := p.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// query runs one statement as the superuser and returns its single value, or "" if it has none.
func query(ctx context.Context, p *Postgres, statement string) (string, error) {
	conn, err := pgx.Connect(ctx, p.URL("postgres"))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, statement)
	if err != nil {
		return "", err
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return strings.Join(values, ","), err
}

func mustQuery(t *testing.T, p *Postgres, statement string) string {
	t.Helper()
	value, err := query(t.Context(), p, statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return value
}
