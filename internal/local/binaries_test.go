package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func notOffered(context.Context, int) (string, error) { return "", errors.New("no network") }

// fakePostgres is a directory with programs that name a version, and can do nothing else.
func fakePostgres(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\necho 'postgres (PostgreSQL) %s'\n", version)
	for _, program := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindsTheNewestPostgresButFirstThatOnPath(t *testing.T) {
	t.Parallel()
	old, middle, latest := fakePostgres(t, "14.2"), fakePostgres(t, "16.4 (Debian 16.4-1)"), fakePostgres(t, "18beta1")
	for _, c := range []struct {
		name, path string
		major      int
		want       string
	}{
		{"newest", "", 0, latest},
		{"on path", middle, 0, middle},
		{"too old on path", old, 0, latest},
		{"version of the data", latest, 16, middle},
	} {
		f := finder{path: c.path, globs: []string{old, middle, latest}, fetch: notOffered}
		got, err := f.find(t.Context(), c.major)
		if err != nil || got.dir != c.want {
			t.Errorf("%s: found %v, %v, want %s", c.name, got, err, c.want)
		}
	}
}

func TestSaysWhatToDoWithoutPostgres(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for _, c := range []struct {
		name  string
		f     finder
		major int
		want  []string
	}{
		{"nothing", finder{path: empty, fetch: notOffered}, 0,
			[]string{"PostgreSQL 15 or later is needed", "none was found", "no network", "apt install postgresql", "brew install", "docker compose up"}},
		{"too old", finder{path: fakePostgres(t, "13.2"), fetch: notOffered}, 0,
			[]string{"only version 13 in ", "apt install postgresql"}},
		{"not the data's", finder{path: fakePostgres(t, "17.1"), fetch: notOffered}, 15,
			[]string{"PostgreSQL 15 is needed, because the data is of that version", "only version 17"}},
		{"empty directory", defaultFinder(empty), 0,
			[]string{"no PostgreSQL in " + empty, "apt install postgresql"}},
		{"too old in the directory", defaultFinder(fakePostgres(t, "13.2")), 0,
			[]string{"is version 13, but PostgreSQL 15 or later is needed"}},
	} {
		_, err := c.f.find(t.Context(), c.major)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error is %v, want %q in it", c.name, err, want)
			}
		}
	}
}

func TestSearchThatIsBrokenOffDownloadsNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := finder{path: fakePostgres(t, "16.1"), fetch: func(context.Context, int) (string, error) {
		t.Error("PostgreSQL is downloaded although it is there")
		return "", errors.New("no network")
	}}
	if _, err := f.find(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}
