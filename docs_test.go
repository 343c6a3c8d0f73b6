package orderbox_test

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A document that names a test promises that it is there.
func TestEveryTestThatADocumentNamesIsThere(t *testing.T) {
	tests := map[string]bool{}
	for _, f := range parseTree(t) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test && fn.Recv == nil {
				tests[fn.Name.Name] = true
			}
		}
	}
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)")
	for _, document := range append(documents, "README.md") {
		for _, m := range named.FindAllStringSubmatch(mustReadFile(t, document), -1) {
			if !tests[m[1]] {
				t.Errorf("%s names %s, which is not there", document, m[1])
			}
		}
	}
}

// A threat without a test is a hope.
func TestEveryThreatHasItsTest(t *testing.T) {
	_, threats, _ := strings.Cut(mustReadFile(t, "docs/security.md"), "## Threats")
	threats, _, _ = strings.Cut(threats, "\n## ")
	rows := 0
	for line := range strings.Lines(threats) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.HasPrefix(line, "| threat") || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| **") {
			continue
		}
		rows++
		named := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[3], -1)
		if len(named) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, m := range named {
			if strings.HasPrefix(m[1], ".ci/") {
				mustReadFile(t, m[1])
			}
		}
	}
	if rows < 20 {
		t.Errorf("%d threats: does this test still find them?", rows)
	}
}

// The table of direct dependencies in docs/DECISIONS.md is that of go.mod, and each has a reason.
func TestEveryDirectDependencyHasItsReason(t *testing.T) {
	short := func(module string) string {
		if base := path.Base(module); regexp.MustCompile(`^v[0-9]+$`).MatchString(base) {
			module = path.Dir(module)
		}
		return strings.TrimPrefix(module, "github.com/")
	}
	direct := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(mustReadFile(t, "go.mod"), -1) {
		direct[short(m[1])] = true
	}
	_, table, _ := strings.Cut(mustReadFile(t, "docs/DECISIONS.md"), "## Direct dependencies")
	reasons := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \|$`).FindAllStringSubmatch(table, -1) {
		if m[1] == "module" {
			continue
		}
		for module := range strings.SplitSeq(m[1], ", ") {
			if !direct[module] {
				t.Errorf("docs/DECISIONS.md gives a reason for %s, which is no direct dependency", module)
			}
			reasons[module] = true
		}
	}
	for module := range direct {
		if !reasons[module] {
			t.Errorf("say in docs/DECISIONS.md what %s is for", module)
		}
	}
	if len(direct) < 10 {
		t.Errorf("%d direct dependencies: does this test still find them?", len(direct))
	}
	if replaced := regexp.MustCompile(`(?m)^\s*(replace|exclude)\b`).FindString(mustReadFile(t, "go.mod")); replaced != "" {
		t.Errorf("go.mod has a %s: what is built is not what it names", replaced)
	}
}

func mustReadFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
