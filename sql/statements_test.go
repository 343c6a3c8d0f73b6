package sql_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderbox/internal/testservers"
	"orderbox/sql"
)

func TestMain(m *testing.M) { testservers.Main(m) }

// The packages whose statements are tried, and as which of the roles they run.
var statementsOf = map[string]func(testservers.DB) string{
	"../inbox":            func(db testservers.DB) string { return db.ServiceURL },
	"../projector":        func(db testservers.DB) string { return db.ServiceURL },
	"../query":            func(db testservers.DB) string { return db.ReaderURL },
	"../internal/archive": func(db testservers.DB) string { return db.AdminURL },
	"../internal/trace":   func(db testservers.DB) string { return db.ReaderURL },
	"../internal/cutover": func(db testservers.DB) string { return db.ReaderURL },
	"../internal/verify":  func(db testservers.DB) string { return db.ReaderURL },
}

// Every statement of the repository is prepared against the migrated database, and explained as the role
// that runs it: wrong columns and missing grants fail here, not at night. (Preparing alone checks no
// privileges.)
func TestEveryStatementFitsTheDatabaseAndItsRole(t *testing.T) {
	t.Parallel()
	db := mustGeneration(t)
	for dir, role := range statementsOf {
		conn := mustConnect(t, role(db))
		statements := constants(t, dir)
		if len(statements) == 0 {
			t.Errorf("%s has no statements: does this test still find them?", dir)
		}
		for name, statement := range statements {
			if err := explain(t, conn, statement); err != nil {
				t.Errorf("%s %s: %v", dir, name, err)
			}
		}
	}
}

func explain(t *testing.T, conn *pgx.Conn, statement string) error {
	t.Helper()
	d, err := conn.Prepare(t.Context(), "tried", statement)
	if err != nil {
		return err
	}
	defer conn.Deallocate(t.Context(), "tried")
	execute := "explain execute tried"
	if n := len(d.ParamOIDs); n > 0 {
		execute += "(" + strings.TrimSuffix(strings.Repeat("null,", n), ",") + ")"
	}
	_, err = conn.Exec(t.Context(), execute, pgx.QueryExecModeSimpleProtocol)
	return err
}

// mustGeneration is a database with the projection's tables in the search path of every role.
func mustGeneration(t *testing.T) testservers.DB {
	t.Helper()
	db := testservers.Database(t)
	conn := mustConnect(t, db.ServiceURL)
	for _, statement := range []string{
		`create schema generation_1`,
		`set search_path = generation_1, public`,
		sql.Generation,
		`insert into generations (name, fingerprint, state) values ('generation_1', 'test', 'current')`,
	} {
		if _, err := conn.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return db
}

func mustConnect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["search_path"] = "generation_1, public"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// constants returns the string constants of a package whose names end in SQL.
func constants(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]ast.Expr{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				for i, v := range spec.Values {
					values[spec.Names[i].Name] = v
				}
			}
			return true
		})
	}
	found := map[string]string{}
	for name, expr := range values {
		if strings.HasSuffix(name, "SQL") {
			found[name] = text(t, expr, values)
		}
	}
	return found
}

// text evaluates a constant string expression.
func text(t *testing.T, expr ast.Expr, values map[string]ast.Expr) string {
	t.Helper()
	switch e := expr.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		if err != nil {
			t.Fatal(err)
		}
		return s
	case *ast.BinaryExpr:
		return text(t, e.X, values) + text(t, e.Y, values)
	case *ast.Ident:
		return text(t, values[e.Name], values)
	default:
		t.Fatalf("a statement that is no constant: %T", expr)
		return ""
	}
}
