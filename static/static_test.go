package static

import (
	"bytes"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func mustNew(tb testing.TB) *Site {
	tb.Helper()
	s, err := New()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// mustReadPages returns the templates' sources by file name.
func mustReadPages(tb testing.TB) map[string]string {
	tb.Helper()
	sources := map[string]string{}
	names, err := fs.Glob(files, "pages/*.html")
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range names {
		source, err := files.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		sources[name] = string(source)
	}
	return sources
}

// Package query renders each page with what it really shows; here nothing is known, and nothing breaks.
func TestEveryPageRendersWithoutData(t *testing.T) {
	t.Parallel()
	s := mustNew(t)
	for name := range mustReadPages(t) {
		if name == layout || name == broken {
			continue
		}
		for _, l := range Languages {
			page, err := s.Render(l, strings.TrimSuffix(path.Base(name), ".html"), map[string]any{})
			if err != nil {
				t.Error(err)
			}
			if !bytes.HasPrefix(page, []byte(`<!doctype html>`+"\n"+`<html lang="`+l.Code+`">`)) || !bytes.HasSuffix(bytes.TrimSpace(page), []byte("</html>")) {
				t.Errorf("%s is not a whole page in %s:\n%s", name, l.Name, page)
			}
		}
	}
}

func TestPageThatFailsHalfWayIsNotShown(t *testing.T) {
	t.Parallel()
	s := mustNew(t)
	if page, err := s.Render(English, "order", struct{ Title *Text }{Say("no order")}); err == nil || page != nil {
		t.Errorf("rendered %q with error %v", page, err)
	}
	if _, err := s.Render(English, "nowhere", nil); err == nil {
		t.Error("a page that does not exist was rendered")
	}
	if !strings.Contains(string(s.Broken(English)), "could not be shown") {
		t.Errorf("the page for that is %q", s.Broken(English))
	}
}

func TestEveryAssetIsNamedByAPageAndEveryNamedOneExists(t *testing.T) {
	t.Parallel()
	_, hashed, err := loadAssets()
	if err != nil {
		t.Fatal(err)
	}
	unused := maps.Clone(hashed)
	for page, source := range mustReadPages(t) {
		for _, match := range regexp.MustCompile(`\{\{asset "([^"]*)"\}\}`).FindAllStringSubmatch(source, -1) {
			if _, ok := hashed[match[1]]; !ok {
				t.Errorf("%s names the asset %s, which does not exist", page, match[1])
			}
			delete(unused, match[1])
		}
	}
	if len(unused) > 0 {
		t.Errorf("no page names %v", slices.Collect(maps.Keys(unused)))
	}
}

func TestAssetNamesStandForTheirContent(t *testing.T) {
	t.Parallel()
	s, again := mustNew(t), mustNew(t)
	form := regexp.MustCompile(`^[a-z]+\.[0-9a-f]{16}\.(css|js|svg)$`)
	for name, asset := range s.assets {
		if !form.MatchString(name) || len(asset.Body) == 0 || asset.ContentType == "" {
			t.Errorf("asset %s is %q, %d bytes", name, asset.ContentType, len(asset.Body))
		}
		if same, ok := again.Asset(name); !ok || !bytes.Equal(same.Body, asset.Body) {
			t.Errorf("%s is not called that a second time", name)
		}
	}
	for _, name := range []string{"", "app.css", "../static.go", "app.0000000000000000.css"} {
		if _, ok := s.Asset(name); ok {
			t.Errorf("an asset answers to %q", name)
		}
	}
}

// The Content-Security-Policy allows nothing inline and no other host. A page that needs more would look
// right in no test but a browser's.
func TestNothingIsInlineAndNothingComesFromElsewhere(t *testing.T) {
	t.Parallel()
	forbidden := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script>|javascript:|(src|href|action)="(https?:)?//|@import|url\(`)
	sources := mustReadPages(t)
	for name, asset := range mustNew(t).assets {
		sources[name] = string(asset.Body)
	}
	for name, source := range sources {
		if found := forbidden.FindString(source); found != "" {
			t.Errorf("%s has %q", name, found)
		}
	}
}
