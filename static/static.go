// Package static holds the pages' templates and their assets, ready to be served.
//
// In: the files in pages and assets, embedded in the program; there is no build step.
// Out: rendered pages, and assets under names that carry a hash of their content.
//
// Laws: none of the seven. What it promises instead: a page is complete before its first byte is
// written, nothing is loaded from another host, and neither scripts nor styles are inline, so that
// the strictest Content-Security-Policy holds.
//
// Concurrency: a Site does not change after New; any number of goroutines may use it.
//
// A page speaks English or Russian. What it says is written in English, in the templates and, as a Text, in the structs
// that they read; the catalogue has the rest. A test finds what is in no catalogue.
//
// Not here: what a page is about (package query has the structs that the templates read) and HTTP.
package static

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"strings"
)

//go:embed pages assets
var files embed.FS

// layout is the page that every other page fills in, broken the one that stands alone.
const (
	layout = "pages/base.html"
	broken = "pages/broken.html"
)

// Asset is one file that pages load: a style sheet, a script or a picture.
type Asset struct {
	ContentType string
	Body        []byte // shared by all callers: not to be changed
}

// Site is every page in every language, and every asset, parsed and hashed once.
type Site struct {
	pages  map[*Language]map[string]*template.Template // by name, such as "order"
	assets map[string]Asset                            // by name with hash
	broken map[*Language][]byte
}

// New parses the templates and hashes the assets. It fails only when the program was built with a
// broken file, which the tests of this package would have said.
func New() (*Site, error) {
	assets, hashed, err := loadAssets()
	if err != nil {
		return nil, err
	}
	s := &Site{pages: map[*Language]map[string]*template.Template{}, assets: assets, broken: map[*Language][]byte{}}
	for _, l := range Languages {
		if err := s.load(l, hashed); err != nil {
			return nil, fmt.Errorf("%s: %w", l.Code, err)
		}
	}
	return s, nil
}

// load parses the pages for one language. What they say, the functions say in it.
func (s *Site) load(l *Language, hashed map[string]string) error {
	base := template.New(path.Base(layout)).Funcs(template.FuncMap{
		"asset": func(name string) (string, error) {
			if h, ok := hashed[name]; ok {
				return "/assets/" + h, nil
			}
			return "", fmt.Errorf("no asset is called %q", name)
		},
		"visible":   visible,
		"t":         l.say,
		"told":      l.told,
		"language":  func() *Language { return l },
		"languages": func() []*Language { return Languages },
	})
	if _, err := base.ParseFS(files, layout); err != nil {
		return fmt.Errorf("parse the layout: %w", err)
	}
	var err error
	if s.pages[l], err = loadPages(base); err != nil {
		return err
	}
	alone, err := template.Must(base.Clone()).ParseFS(files, broken)
	if err != nil {
		return fmt.Errorf("parse %s: %w", broken, err)
	}
	var b bytes.Buffer
	if err := alone.ExecuteTemplate(&b, path.Base(broken), nil); err != nil {
		return fmt.Errorf("render %s: %w", broken, err)
	}
	s.broken[l] = b.Bytes()
	return nil
}

// Render gives the page called name ("home" for pages/home.html) in a language with its data filled in. Nothing is
// returned of a page that fails half-way.
func (s *Site) Render(l *Language, name string, data any) ([]byte, error) {
	t, ok := s.pages[l][name]
	if !ok {
		return nil, fmt.Errorf("no page is called %q", name)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("render page %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// Broken is the page that says that a page could not be shown. It was rendered by New, so it is there
// when nothing else works. The caller must not change it.
func (s *Site) Broken(l *Language) []byte { return s.broken[l] }

// Asset finds an asset by its name with hash. Such a name stands for these bytes for ever: whoever
// has them need not ask again.
func (s *Site) Asset(name string) (Asset, bool) {
	a, ok := s.assets[name]
	return a, ok
}

func loadPages(base *template.Template) (map[string]*template.Template, error) {
	names, err := fs.Glob(files, "pages/*.html")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, name := range names {
		if name == layout || name == broken {
			continue
		}
		page, err := base.Clone()
		if err != nil {
			return nil, fmt.Errorf("copy the layout: %w", err)
		}
		if _, err := page.ParseFS(files, name); err != nil {
			return nil, fmt.Errorf("parse %s: %w", name, err)
		}
		pages[strings.TrimSuffix(path.Base(name), ".html")] = page
	}
	return pages, nil
}

// loadAssets gives the assets by hashed name, and the hashed names by the plain ones.
func loadAssets() (assets map[string]Asset, hashed map[string]string, err error) {
	entries, err := files.ReadDir("assets")
	if err != nil {
		return nil, nil, err
	}
	assets, hashed = map[string]Asset{}, map[string]string{}
	for _, e := range entries {
		body, err := files.ReadFile("assets/" + e.Name())
		if err != nil {
			return nil, nil, err
		}
		kind, err := contentType(e.Name())
		if err != nil {
			return nil, nil, err
		}
		ext := path.Ext(e.Name())
		sum := sha256.Sum256(body)
		name := strings.TrimSuffix(e.Name(), ext) + "." + hex.EncodeToString(sum[:8]) + ext
		assets[name] = Asset{ContentType: kind, Body: body}
		hashed[e.Name()] = name
	}
	return assets, hashed, nil
}

// contentType is decided here and not by package mime, which reads files of the machine it runs on.
func contentType(name string) (string, error) {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8", nil
	case ".js":
		return "text/javascript; charset=utf-8", nil
	case ".svg":
		return "image/svg+xml", nil
	}
	return "", fmt.Errorf("asset %s has no known content type", name)
}
