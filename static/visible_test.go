package static

import (
	"html"
	"regexp"
	"strings"
	"testing"
)

func TestControlsAreSeenAndStay(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                  "",
		"<b> & \"ё\" 👩‍👩‍👧": "&lt;b&gt; &amp; &#34;ё&#34; 👩‍👩‍👧",
		"a\rb":              `a<span class="control" data-shown="\r">&#13;</span>b`,
		"\n":                "<span class=\"control\" data-shown=\"\\n\">\n</span>",
		"\x1b[2J":           "<span class=\"control\" data-shown=\"U+001B\">\x1b</span>[2J",
		"\x7f":              "<span class=\"control\" data-shown=\"U+007F\">\x7f</span>",
		"\u009b<\u202e":     "<span class=\"control\" data-shown=\"U+009B\">\u009b</span>&lt;<span class=\"control\" data-shown=\"U+202E\">\u202e</span>",
	} {
		got, err := visible(&text)
		if err != nil || string(got) != want {
			t.Errorf("%q is written as %s, %v", text, got, err)
		}
		if copied := html.UnescapeString(regexp.MustCompile("<[^>]*>").ReplaceAllString(string(got), "")); copied != text {
			t.Errorf("%q is copied as %q", text, copied)
		}
	}
}

// What somebody sent stands in a bdi, whatever its direction is.
func TestEveryPageMakesVisibleWhatWasSent(t *testing.T) {
	t.Parallel()
	for name, source := range mustReadPages(t) {
		for _, bare := range regexp.MustCompile(`<bdi>\{\{[^}]*`).FindAllString(source, -1) {
			if !strings.HasPrefix(bare, "<bdi>{{visible ") && !strings.HasPrefix(bare, "<bdi>{{told ") { // which makes visible as well
				t.Errorf("%s shows controls as they are: %s", name, bare)
			}
		}
	}
}
