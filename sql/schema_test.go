package sql_test

import (
	"bytes"
	"context"
	"flag"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderbox/internal/testservers"
	"orderbox/sql"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// schema.sql is what all migrations and generation.sql come to, for people to read.
func TestTheSchemaFileIsWhatTheMigrationsMake(t *testing.T) {
	t.Parallel()
	dump, err := exec.LookPath("pg_dump")
	if err != nil {
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_dump")
		if len(found) == 0 {
			t.Skip("there is no pg_dump on this machine")
		}
		dump = slices.Max(found)
	}
	db := mustGeneration(t)
	text, err := exec.CommandContext(t.Context(), dump, "--schema-only", "--exclude-table=inbox_2*", db.AdminURL).Output()
	if err != nil {
		t.Fatal(err)
	}
	// Versions differ in preambles, and some servers number the versions of every column.
	var kept bytes.Buffer
	for line := range strings.Lines(string(text)) {
		noise := strings.HasPrefix(line, "SET ") || strings.HasPrefix(line, "--") || strings.HasPrefix(line, `\`) ||
			strings.Contains(line, "(pg_attver=") || strings.HasPrefix(line, "SELECT pg_catalog.set_config") || strings.TrimSpace(line) == ""
		if !noise {
			kept.WriteString(line)
		}
	}
	if *update {
		if err := os.WriteFile("schema.sql", kept.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept.Bytes(), want) {
		t.Error("schema.sql is not what the migrations make: go test ./sql -update, and look at the difference")
	}
}

func TestMigratingAgainAndAtOnceChangesNothing(t *testing.T) {
	t.Parallel()
	db := testservers.Database(t)
	u, err := url.Parse(db.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	o := sql.MigrateOptions{AdminURL: db.AdminURL, Database: strings.TrimPrefix(u.Path, "/") + "_fresh"}
	u.Path = "/" + o.Database
	t.Cleanup(func() {
		ctx := context.Background() // the test's own has ended
		conn, err := pgx.Connect(ctx, db.AdminURL)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, `drop database if exists "`+o.Database+`" with (force)`); err != nil {
			t.Error(err)
		}
	})
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if version, err := sql.Migrate(t.Context(), o); version != sql.Version() || err != nil {
				t.Errorf("version %d, %v", version, err)
			}
		})
	}
	group.Wait()
	pool, err := sql.Open(t.Context(), u.String(), "test", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := sql.CheckVersion(t.Context(), pool); err != nil {
		t.Error(err)
	}
}

func TestADatabaseWithoutTablesIsRecognised(t *testing.T) {
	t.Parallel()
	pool := testservers.Open(t, testservers.Database(t).AdminURL, 1)
	if _, err := pool.Exec(t.Context(), `alter table goose_db_version rename to away`); err != nil {
		t.Fatal(err)
	}
	if err := sql.CheckVersion(t.Context(), pool); err != sql.ErrNotMigrated {
		t.Errorf("%v, want ErrNotMigrated", err)
	}
}

// The balance is asked for every few seconds, and compiling it took longer than counting.
func TestNoQueryIsCompiled(t *testing.T) {
	t.Parallel()
	pool := testservers.Open(t, testservers.Database(t).ReaderURL, 1)
	var jit string
	if err := pool.QueryRow(t.Context(), `select current_setting('jit')`).Scan(&jit); err != nil {
		t.Fatal(err)
	}
	if jit != "off" {
		t.Errorf("jit is %s", jit)
	}
}
