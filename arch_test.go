package orderbox_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The import policy. Data flows one way, and imports point at the log from both sides. When this test
// fails, the import is most likely wrong: change the design before you change this text.
//
// What stands left of "<" may be imported by what stands right of it; nothing is implied transitively.
const policy = `
	NONE < orderbox, static, sql, internal/archive, internal/retry, internal/grace, internal/envfile, internal/local, internal/natstls, internal/verify, internal/chaos, internal/contract, internal/trace
	internal/retry < internal/listen
	internal/listen < inbox
	internal/envfile < internal/cli
	internal/natstls < internal/stream
	orderbox, internal/natstls, internal/stream < publisher
	inbox, internal/retry, internal/grace, internal/natstls, internal/stream, internal/trace < ingest
	orderbox, inbox, sql, internal/retry, internal/grace, internal/listen, internal/trace < projector
	orderbox, static, internal/retry, internal/listen, internal/trace < query
	internal/natstls, internal/retry, internal/stream < internal/cutover
	sql, internal/local < internal/testservers
	publisher, internal/testservers < internal/faults
	inbox, ingest, projector, publisher, query, sql < cmd/orderbox
	internal/archive, internal/cli, internal/cutover, internal/envfile, internal/grace, internal/local, internal/natstls, internal/retry, internal/stream, internal/trace, internal/verify < cmd/orderbox
	publisher, internal/cli, internal/natstls, internal/stream < cmd/publish
	publisher, sql, internal/local < internal/bench/world
	internal/cli < internal/bench/load
	publisher, sql, internal/cli, internal/bench/load, internal/bench/world < internal/bench
	publisher, internal/cli, internal/envfile, internal/bench/load, internal/bench/world < internal/bench/stress
	inbox, publisher, sql, internal/cli, internal/bench/load, internal/bench/world < internal/bench/scale
`

// Who may import what of others' making. What is not listed may be imported anywhere.
var fences = map[string]string{
	"github.com/nats-io/stan.go":                  "ingest publisher internal/cutover internal/stream internal/bench/world",
	"github.com/nats-io/nats.go":                  "ingest publisher internal/cutover internal/natstls internal/stream",
	"github.com/synadia-io/orbit.go":              "internal/cutover",
	"github.com/nats-io/nats-streaming-server":    "internal/local internal/testservers",
	"github.com/nats-io/nats-server":              "internal/local internal/testservers",
	"github.com/fergusstrange/embedded-postgres":  "internal/local",
	"github.com/santhosh-tekuri/jsonschema":       "projector",
	"github.com/go-json-experiment/json":          "projector query internal/archive",
	"github.com/segmentio/encoding":               "orderbox query",
	"github.com/evanphx/json-patch":               "query",
	"github.com/gorilla/mux":                      "query",
	"github.com/maypok86/otter":                   "query",
	"github.com/pressly/goose":                    "sql",
	"github.com/alecthomas/kong":                  "cmd/orderbox cmd/publish internal/cli",
	"github.com/klauspost/compress":               "internal/archive",
	"github.com/willabides/kongplete":             "cmd/orderbox internal/cli",
	"github.com/jackc/pgx":                        "inbox projector query sql cmd/orderbox internal/archive internal/cutover internal/faults internal/listen internal/local internal/testservers internal/trace internal/verify internal/bench internal/bench/scale internal/bench/world",
	"github.com/testcontainers/testcontainers-go": "internal/testservers internal/faults",
	"github.com/moby/moby":                        "internal/faults",
	"github.com/prometheus/client_golang":         "ingest projector query cmd/orderbox",
	"github.com/chromedp":                         "",
	"go.opentelemetry.io":                         "internal/trace",
	"github.com/getkin/kin-openapi":               "internal/contract",
	"net/http":                                    "query cmd/orderbox internal/contract internal/faults internal/bench internal/bench/scale internal/bench/world internal/bench/stress",
	"database/sql":                                "",
	"orderbox/internal/testservers":               "internal/faults",
	"orderbox/internal/faults":                    "",
	"orderbox/internal/contract":                  "",
}

// Longer than the house allows, each with its reason.
var exceptions = map[string]string{
	"publisher/vocabulary.go markets": "a table of words",
}

const (
	maxFileLines     = 400
	maxFunctionLines = 70
)

// file is one parsed Go file of the repository.
type file struct {
	path string // from the root, with slashes
	test bool
	text string
	set  *token.FileSet
	ast  *ast.File
}

func (f file) pkg() string {
	if dir := path.Dir(f.path); dir != "." {
		return dir
	}
	return "orderbox"
}

func parseTree(t *testing.T) []file {
	t.Helper()
	var files []file
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f := file{path: filepath.ToSlash(p), test: strings.HasSuffix(p, "_test.go"), text: string(text), set: token.NewFileSet()}
		f.ast, err = parser.ParseFile(f.set, p, text, parser.ParseComments|parser.SkipObjectResolution)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestImportsFollowThePolicy(t *testing.T) {
	allowed := map[string][]string{}
	for line := range strings.SplitSeq(strings.TrimSpace(policy), "\n") {
		from, to, _ := strings.Cut(strings.TrimSpace(line), " < ")
		for importer := range strings.SplitSeq(to, ", ") {
			allowed[importer] = append(allowed[importer], strings.Split(from, ", ")...)
		}
	}
	for _, f := range parseTree(t) {
		if f.test {
			continue
		}
		if _, ok := allowed[f.pkg()]; !ok {
			t.Errorf("%s: package %s is not in the policy", f.path, f.pkg())
		}
		for _, spec := range f.ast.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if imported == "orderbox" || strings.HasPrefix(imported, "orderbox/") {
				name := strings.TrimPrefix(imported, "orderbox/")
				if !slices.Contains(allowed[f.pkg()], name) {
					t.Errorf("%s imports %s, against the policy", f.path, name)
				}
			}
			for fenced, users := range fences {
				if (imported == fenced || strings.HasPrefix(imported, fenced+"/")) && !slices.Contains(strings.Fields(users), f.pkg()) {
					t.Errorf("%s imports %s, which is for %q only", f.path, imported, users)
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	docs := map[string]string{}
	for _, f := range parseTree(t) {
		if !f.test {
			docs[f.pkg()] += f.ast.Doc.Text()
		}
	}
	for pkg, doc := range docs {
		want := []string{"Package " + path.Base(pkg) + " "}
		if strings.HasPrefix(pkg, "cmd/") {
			want = []string{"Command " + path.Base(pkg) + " "}
		} else if pkg != "orderbox" {
			want = append(want, "In: ", "Concurrency", "Not here: ")
		}
		for _, w := range want {
			if !strings.Contains(doc, w) {
				t.Errorf("the comment of package %s lacks %q", pkg, w)
			}
		}
	}
}

func TestFilesAndFunctionsStaySmall(t *testing.T) {
	check := func(what string, lines, limit int) {
		if lines > limit && exceptions[what] == "" {
			t.Errorf("%s has %d lines, more than %d", what, lines, limit)
		}
	}
	for _, f := range parseTree(t) {
		check(f.path, strings.Count(f.text, "\n"), maxFileLines)
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && !f.test { // a table of cases is long
				lines := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line
				check(f.path+" "+fn.Name.Name, lines, maxFunctionLines)
			}
		}
	}
}

func TestNothingHappensBehindTheReadersBack(t *testing.T) {
	vague := []string{"util", "utils", "common", "helpers", "models", "types", "manager", "service", "core"}
	pause := regexp.MustCompile(`(?m)^\s*<-time\.After\(`)
	selectAll := regexp.MustCompile(`(?i)select\s+\*`)
	for _, f := range parseTree(t) {
		if slices.Contains(vague, path.Base(f.pkg())) {
			t.Errorf("%s: the package's name says nothing", f.path)
		}
		if !f.test && selectAll.MatchString(f.text) {
			t.Errorf("%s: name the columns", f.path)
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s has an init function", f.path)
			}
		}
		if f.test && f.path != "arch_test.go" && (strings.Contains(f.text, "time.Sleep(") || pause.MatchString(f.text)) {
			t.Errorf("%s sleeps: wait for a signal or poll with a deadline", f.path)
		}
	}
}

// Each table has one package that writes to it.
var writers = map[string]string{
	"inbox": "inbox", "copies": "inbox", "schemas": "inbox", "decisions": "inbox",
	"generations": "projector", "detached": "internal/archive",
	"reasons": "projector", "checkpoint": "projector", "orders": "projector", "deliveries": "projector", "payments": "projector",
	"items": "projector", "duplicates": "projector", "dead_letters": "projector", "dead_letter_places": "projector",
	"dead_letter_counts": "projector",
}

func TestEachTableHasOneWriter(t *testing.T) {
	write := regexp.MustCompile(`(?i)\b(?:insert into|update|delete from|truncate)\s+([a-z_]+)`)
	seen := map[string]bool{}
	for _, f := range parseTree(t) {
		if f.test {
			continue
		}
		copies := f.pkg() == "projector" || f.pkg() == "internal/archive" || strings.HasPrefix(f.pkg(), "internal/bench")
		if !copies && strings.Contains(f.text, ".CopyFrom(") {
			t.Errorf("%s copies into a table: those that are copied into are the projector's, and months that are restored", f.path)
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			for _, m := range write.FindAllStringSubmatch(lit.Value, -1) {
				if owner, known := writers[m[1]]; known {
					seen[m[1]] = true
					if owner != f.pkg() {
						t.Errorf("%s writes table %s, which is %s's", f.path, m[1], owner)
					}
				}
			}
			return true
		})
	}
	for _, table := range []string{"inbox", "generations", "checkpoint", "reasons"} {
		if !seen[table] {
			t.Errorf("nobody writes %s: does this test still find statements? It saw %v", table, slices.Sorted(maps.Keys(seen)))
		}
	}
}
