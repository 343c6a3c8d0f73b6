package cli_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"orderbox/internal/cli"
)

type grammar struct {
	Show show `cmd:""`
	Fail fail `cmd:""`
}

type show struct {
	Data  string `default:"nowhere" env:"ORDERBOX_TEST_DATA"`
	Place string `default:"default" env:"ORDERBOX_TEST_PLACE"`
}

func (c *show) Run(_ context.Context, s cli.Streams) error {
	_, err := s.Out.Write([]byte(c.Place))
	return err
}

type fail struct{}

func (fail) Run() error { return cli.Try(errors.New("it broke"), "mend it") }

func run(t *testing.T, args string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = cli.Run(t.Context(), strings.Fields(args), cli.Streams{Out: &o, Err: &e}, new(grammar), kong.Name("test"))
	return code, o.String(), e.String()
}

func TestAFlagBeatsTheEnvironmentBeatsTheFileBeatsTheDefault(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "env"), []byte("ORDERBOX_TEST_PLACE=file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(args, want string) {
		t.Helper()
		if code, out, errs := run(t, args); code != 0 || out != want {
			t.Errorf("%s: exit code %d, %q %s; want %q", args, code, out, errs, want)
		}
	}
	check("show", "default")
	check("show --data "+dir, "file")
	t.Setenv("ORDERBOX_TEST_DATA", dir)
	check("show", "file")
	t.Setenv("ORDERBOX_TEST_PLACE", "environment")
	check("show", "environment")
	check("show --place flag", "flag")
}

// A program without commands, such as publish.
type flat struct {
	File string `arg:"" optional:""`
}

func (flat) Run() error { return nil }

func TestWrongUsageOfAProgramWithoutCommands(t *testing.T) {
	var e bytes.Buffer
	code := cli.Run(t.Context(), []string{"file", "--what"}, cli.Streams{Out: &e, Err: &e}, new(flat), kong.Name("flat"))
	if want := "flat: unknown flag --what\ntry: flat --help\n"; code != 2 || e.String() != want {
		t.Errorf("exit code %d, %q", code, e.String())
	}
}

func TestExitCodes(t *testing.T) {
	for args, want := range map[string]struct {
		code int
		errs string
	}{
		"fail":        {1, "test: it broke\ntry: mend it\n"},
		"show --what": {2, "test: unknown flag --what\ntry: test show --help\n"},
		"--help":      {0, ""},
	} {
		if code, _, errs := run(t, args); code != want.code || errs != want.errs {
			t.Errorf("%s: exit code %d, want %d; %s", args, code, want.code, errs)
		}
	}
}
