package orderbox_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mustReadDocuments returns the documents by their names.
func mustReadDocuments(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	documents := map[string]string{}
	for _, name := range append(names, "README.md") {
		documents[name] = mustReadFile(t, name)
	}
	return documents
}

// A command that a document names is one that somebody will copy.
func TestEveryCommandThatADocumentNamesIsThere(t *testing.T) {
	helps := map[string]string{"publish": mustReadFile(t, "cmd/publish/testdata/help.txt")}
	goldens, err := filepath.Glob("cmd/orderbox/testdata/help/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, golden := range goldens {
		name := strings.TrimSuffix(filepath.Base(golden), ".txt")
		if name != "orderbox" {
			name = "orderbox " + name
		}
		helps[name] = mustReadFile(t, golden)
	}
	tasks := mustReadFile(t, "Taskfile.yml")
	code := regexp.MustCompile("`[^`]+`|(?m)^(?:    |\\$ ).+$")
	program := regexp.MustCompile(`(?:^|[/"(]|[|$] )(orderbox|publish)((?: [a-z][a-z-]*)*)([^|;#]*)`)
	fence := regexp.MustCompile("(?m)^```.*$")
	flag := regexp.MustCompile(`(?:^|\s)(--[a-z][a-z-]*)`)
	task := regexp.MustCompile(`^(?:\$ )?task ([a-z:]+)`)
	commands := 0
	for name, text := range mustReadDocuments(t) {
		for _, snippet := range code.FindAllString(fence.ReplaceAllString(text, ""), -1) {
			snippet = strings.Join(strings.Fields(strings.Trim(snippet, "`")), " ")
			if m := task.FindStringSubmatch(snippet); m != nil && !strings.Contains(tasks, "\n  "+m[1]+":\n") {
				t.Errorf("%s names %q, which is no task", name, snippet)
			}
			for _, m := range program.FindAllStringSubmatch(snippet, -1) {
				help, words := m[1], strings.Fields(m[2])
				for _, word := range words {
					longer := help + "-" + word
					if help == "orderbox" {
						longer = "orderbox " + word
					}
					if _, ok := helps[longer]; !ok {
						break
					}
					help = longer
				}
				if help == "orderbox" && len(words) > 0 {
					t.Errorf("%s names %q, and there is no such command", name, snippet)
				}
				commands++
				for _, f := range flag.FindAllStringSubmatch(m[3], -1) {
					if !strings.Contains(helps[help], f[1]) {
						t.Errorf("%s names %q, and %s has no %s", name, snippet, help, f[1])
					}
				}
			}
		}
	}
	if commands < 40 {
		t.Errorf("%d commands: does this test still find them?", commands)
	}
}

// A file that a document names is one that somebody will open.
func TestEveryFileThatADocumentNamesIsThere(t *testing.T) {
	named := regexp.MustCompile("`([a-z][a-z0-9_/]*\\.(?:go|sql|js|json|yaml))`")
	linked := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	files := 0
	for name, text := range mustReadDocuments(t) {
		for line := range strings.Lines(text) {
			dir := ""
			for _, m := range named.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], "/") {
					dir = path.Dir(m[1])
				} else if dir == "" {
					continue // of whoever reads it
				}
				files++
				if _, err := os.Stat(path.Join(dir, path.Base(m[1]))); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		for _, m := range linked.FindAllStringSubmatch(text, -1) {
			files++
			if _, err := os.Stat(path.Join(path.Dir(name), m[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if files < 40 {
		t.Errorf("%d files: does this test still find them?", files)
	}
}
