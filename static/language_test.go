package static

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math/big"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/text/feature/plural"
)

var templateText = regexp.MustCompile(`\(?\bt ("(?:[^"\\]|\\.)*")`)

// spoken returns what the templates say, and what the page structs do in static.Say, by where it stands; and the
// nouns that are counted.
func spoken(tb testing.TB) (texts, nouns map[string]string) {
	tb.Helper()
	texts, nouns = map[string]string{}, map[string]string{}
	keep := func(in map[string]string, literal, at string) {
		text, err := strconv.Unquote(literal)
		if err != nil {
			tb.Fatalf("%s: %v in %s", at, err, literal)
		}
		in[text] = at
	}
	for name, source := range mustReadPages(tb) {
		for _, match := range templateText.FindAllStringSubmatch(source, -1) {
			keep(texts, match[1], name)
		}
	}
	names, err := filepath.Glob("../query/*.go")
	if err != nil || len(names) == 0 {
		tb.Fatal("no sources of package query", err)
	}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			tb.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "Say" {
					break
				}
				literal, ok := n.Args[0].(*ast.BasicLit)
				if !ok {
					tb.Errorf("%s: Say is told something that this test cannot read", name)
					break
				}
				keep(texts, literal.Value, name)
			case *ast.KeyValueExpr:
				key, ok := n.Key.(*ast.Ident)
				if literal, is := n.Value.(*ast.BasicLit); ok && is && key.Name == "Noun" {
					keep(nouns, literal.Value, name)
				}
			}
			return true
		})
	}
	nouns["byte"] = "Bytes"
	return texts, nouns
}

// verbs are the places for arguments in a format, in their order.
var verbs = regexp.MustCompile(`%(?:\[\d\])?s`)

func TestRussianHasEveryTextOfThePages(t *testing.T) {
	t.Parallel()
	texts, nouns := spoken(t)
	if len(texts) < 100 || len(nouns) < 3 {
		t.Fatalf("only %d texts and %d nouns were found", len(texts), len(nouns))
	}
	for english, at := range texts {
		if !strings.ContainsFunc(verbs.ReplaceAllString(english, ""), unicode.IsLetter) {
			continue // it is the same in every language
		}
		russian, ok := Russian.texts[english]
		if !ok || russian == "" {
			t.Errorf("%s: %q has no Russian", at, english)
		} else if has, want := len(verbs.FindAllString(russian, -1)), len(verbs.FindAllString(english, -1)); has != want {
			t.Errorf("%s: %q takes %d arguments, and %q %d", at, english, want, russian, has)
		}
	}
	for noun, at := range nouns {
		if got := slices.Sorted(maps.Keys(Russian.nouns[noun])); !slices.Equal(got, []plural.Form{plural.One, plural.Few, plural.Many}) {
			t.Errorf("%s: %q has the forms %v in Russian", at, noun, got)
		}
	}
}

// What is told and not said comes from the data and the API, in English. Here is where.
var toldIn = []string{"../query/*.go", "../projector/reason.go", "../projector/*.go", "../cmd/orderbox/*.go"}

func TestRussianHasNothingThatNobodySays(t *testing.T) {
	t.Parallel()
	texts, nouns := spoken(t)
	literals := map[string]bool{}
	for _, pattern := range toldIn {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
					if text, err := strconv.Unquote(literal.Value); err == nil {
						literals[text] = true
					}
				}
				return true
			})
		}
	}
	for english := range Russian.texts {
		reason, isReason := strings.CutPrefix(english, reasonKey)
		if texts[english] == "" && !literals[english] && !(isReason && literals[reason]) && english != "KiB" && english != "MiB" {
			t.Errorf("nobody says %q", english)
		}
	}
	for noun := range Russian.nouns {
		if nouns[noun] == "" {
			t.Errorf("nobody counts by %q", noun)
		}
	}
}

func TestNumbersAndTimesAreSpelledAsTheLanguageDoes(t *testing.T) {
	t.Parallel()
	at := time.Date(2021, 11, 26, 9, 22, 19, 0, time.FixedZone("", 3*3600))
	huge, _ := new(big.Int).SetString("18446744073709551614", 10)
	for _, c := range []struct {
		value            any
		english, russian string
	}{
		{0, "0", "0"}, {999, "999", "999"}, {1234, "1,234", "1\u00a0234"}, {int64(-1234567), "−1,234,567", "−1\u00a0234\u00a0567"},
		{huge, "18,446,744,073,709,551,614", "18\u00a0446\u00a0744\u00a0073\u00a0709\u00a0551\u00a0614"},
		{at, "26 Nov 2021, 06:22:19 UTC", "26 нояб. 2021, 06:22:19 UTC"},
		{Count{0, "item"}, "0 items", "0 товаров"}, {Count{1, "item"}, "1 item", "1 товар"}, {Count{2, "item"}, "2 items", "2 товара"},
		{Count{5, "item"}, "5 items", "5 товаров"}, {Count{11, "item"}, "11 items", "11 товаров"}, {Count{21, "item"}, "21 items", "21 товар"},
		{Count{1022, "item"}, "1,022 items", "1\u00a0022 товара"}, {Count{1_000_011, "item"}, "1,000,011 items", "1\u00a0000\u00a0011 товаров"},
		{Bytes(1), "1 byte", "1 байт"}, {Bytes(1023), "1,023 bytes", "1\u00a0023 байта"}, {Bytes(1536), "1.5 KiB", "1,5 КиБ"},
		{Bytes(5<<20 + 1<<19), "5.5 MiB", "5,5 МиБ"}, {(*Text)(nil), "", ""},
	} {
		for l, want := range map[*Language]string{English: c.english, Russian: c.russian} {
			if got, err := l.Text(c.value); err != nil || got != want {
				t.Errorf("%s: %v is %q, want %q (%v)", l.Code, c.value, got, want, err)
			}
		}
	}
	if got, err := English.Text(3.5); err == nil {
		t.Errorf("what cannot be said is said as %q", got)
	}
}

func TestWhatIsNotInTheLanguageIsMarked(t *testing.T) {
	t.Parallel()
	for l, want := range map[*Language]string{English: "new &lt;b&gt; 100%", Russian: `<span lang="en">new &lt;b&gt; 100%</span>`} {
		for _, text := range []any{"new <b> 100%", Told("new <b> 100%")} {
			if got, err := l.told(text); err != nil || string(got) != want {
				t.Errorf("%s: %s (%v), want %s", l.Code, got, err, want)
			}
		}
	}
	if got, err := Russian.told("open"); err != nil || string(got) != Russian.texts["open"] {
		t.Errorf("%s (%v)", got, err)
	}
}

func TestTheReadersLanguageIsSpoken(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]*Language{
		"": English, "ru": Russian, "ru-RU,ru;q=0.9,en;q=0.8": Russian, "en-GB,ru;q=0.5": English, "de, ru;q=0.5": Russian, "fr": English,
		"*": English, "nonsense;;q=": English, "uk,en;q=0.1": English, strings.Repeat("x-", 9999): English,
	} {
		if got := Understood("", said); got != want {
			t.Errorf("%q is answered in %s", said, got.Code)
		}
	}
	if Understood("en", "ru") != English || Understood("ru", "en") != Russian {
		t.Error("what was chosen does not count")
	}
}
