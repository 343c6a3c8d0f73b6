package query

import (
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// mustShowOperator returns a page as a logged-in operator gets it, with the secret "right".
func mustShowOperator(tb testing.TB, s *Server, status int, path string) string {
	tb.Helper()
	r := get(tb, s, path, "Authorization", "Bearer right")
	page := string(body(tb, status, r))
	if got := r.Header.Get("Cache-Control"); got != "no-store" {
		tb.Errorf("%s may be kept: %q", path, got)
	}
	return page
}

// mustPlace says where a dead letter fails.
func (p *projection) mustPlace(tb testing.TB, id int64, place string) {
	tb.Helper()
	p.mustTx(tb, p.generation, func(tx pgx.Tx) error {
		_, err := tx.Exec(tb.Context(), `insert into dead_letter_places (place, position) values ($1, $2)`, place, id)
		if err == nil {
			_, err = tx.Exec(tb.Context(), countSQL)
		}
		return err
	})
}

func TestLetterPageSaysAllThatIsKnown(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	first := p.mustProject(t, mustModel(t, "first"))
	id := p.mustRefuse(t, []byte(`{"b":{"a":1},"a":[true]}`), "conflict",
		`[{"pointer": "/a/0", "keyword": "type", "message": "must be a number"}, {"pointer": "/c", "keyword": "required", "message": "is missing"}]`, &first)
	s := newServer(t, p, Options{Tokens: []Token{{"ann", "right"}}})
	page := mustShowOperator(t, s, http.StatusOK, letterLink(id))
	mustSay(t, page, fmt.Sprint("Dead letters Dead letter ", id), "conflict open", "What is wrong.", "Some help.", "The order that came first is first",
		"/a/0 must be a number type", "/c is missing required", "Sourcestan", "Channelorders", "20 Nov 2026, 10:20:30 UTC", "Judged by schemav1",
		"Size24 bytes", `{c is missing "b": { "a": 1 }, "a": [ truemust be a number ] }`, "Nothing yet.")
	for _, markup := range []string{
		fmt.Sprintf(`href="/api/v1/dead-letters/%d/payload" download`, id), `<mark>true</mark>`, `href="/orders/first"`,
		fmt.Sprintf(`<title>Dead letter %d · Orderbox</title>`, id),
	} {
		if !strings.Contains(page, markup) {
			t.Errorf("the page lacks %s", markup)
		}
	}
	if strings.Contains(page, "<textarea") || strings.Contains(page, "/retry") {
		t.Error("decisions are offered by a service that takes none")
	}
	for path, status := range map[string]int{letterLink(first): 404, letterLink(99): 404, "/dead-letters/x": 400, letterLink(id) + "?x=1": 400} {
		mustShowOperator(t, s, status, path)
	}
}

// Everything in a payload, in a dead letter's texts, in notes and in addresses comes from somebody else.
func TestMarkupInADeadLetterIsText(t *testing.T) {
	t.Parallel()
	const markup = `"'></textarea></code><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}`
	payloads := []string{
		fmt.Sprintf(`{"a": %q, %q: 1}`, markup, markup), markup, "\n" + markup + "\r\n", "\x00" + markup, "[" + strings.Repeat("\""+"<script>\",", 3) + "1]",
	}
	p := newProjection(t)
	s := newServer(t, p, Options{Tokens: []Token{{"ann", "right"}}, Operator: noOperator{}})
	for _, payload := range payloads {
		id := p.mustRefuse(t, []byte(payload), "invalid", `[{"pointer": "/a`+html.EscapeString(`<b>`)+`<i onload=x>", "keyword": "<u>", "message": "<script>"}]`, nil)
		p.mustPlace(t, id, "/<script>")
		pages := map[string]string{
			"letter": mustShowOperator(t, s, http.StatusOK, letterLink(id)),
			"list":   mustShowOperator(t, s, http.StatusOK, "/dead-letters"),
		}
		for name, page := range pages {
			if found := regexp.MustCompile(`(?i)<script>|<img src=x|<i onload|<u>|<b>|"'>|</code><sc`).FindString(page); found != "" {
				t.Errorf("the %s of %q has %s as it is", name, payload, found)
			}
		}
		if payload[0] == 0 {
			continue
		}
		area := regexp.MustCompile(`(?s)<textarea[^>]*>\n(.*?)</textarea>`).FindStringSubmatch(pages["letter"])
		if v := newPayloadView([]byte(payload), "", nil); area == nil || html.UnescapeString(area[1]) != v.Editable {
			t.Errorf("%q is offered for amending as %q", payload, area)
		}
	}
	page := mustShowOperator(t, s, http.StatusOK, "/dead-letters?text="+`%22%3E%3Cscript%3E`)
	if strings.Contains(page, "<script>") {
		t.Error("the filter is shown as it is")
	}
}

func TestLettersPageListsGroupsAndFilters(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	var ids []int64
	for i := range 25 {
		reason, place := "invalid", "/payment/amount"
		if i%5 == 0 {
			reason, place = "malformed", ""
		}
		id := p.mustRefuse(t, fmt.Append(nil, "payload ", i), reason, `[{"pointer": "`+place+`", "keyword": "k", "message": "m"}]`, nil)
		p.mustPlace(t, id, place)
		ids = append(ids, id)
	}
	s := newServer(t, p, Options{Tokens: []Token{{"ann", "right"}}})
	page := mustShowOperator(t, s, http.StatusOK, "/dead-letters")
	mustSay(t, page, "25 open", "20 fail at /payment/amount invalid", "5 fail as a whole malformed", "Older")
	links := func(page, pattern string) (found []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(page, -1) {
			found = append(found, html.UnescapeString(m[1]))
		}
		return found
	}
	if got := links(page, `<a href="(/dead-letters/\d+)">`); len(got) != 20 || got[0] != letterLink(ids[24]) {
		t.Errorf("the list is %v", got)
	}
	older := links(page, `<a href="([^"]*)" rel="next">`)
	if len(older) != 1 {
		t.Fatalf("older are at %v", older)
	}
	if got := links(mustShowOperator(t, s, http.StatusOK, older[0]), `<a href="(/dead-letters/\d+)">`); len(got) != 5 || got[4] != letterLink(ids[0]) {
		t.Errorf("the rest is %v", got)
	}
	filters := links(page, `<a href="(/dead-letters\?[^"]*place[^"]*)">`)
	if len(filters) != 2 {
		t.Fatalf("the groups lead to %v", filters)
	}
	whole := mustShowOperator(t, s, http.StatusOK, filters[1])
	if got := links(whole, `<a href="(/dead-letters/\d+)">`); len(got) != 5 || !strings.Contains(whole, `name="place" value="whole"`) ||
		!strings.Contains(whole, `aria-current="true"`) || !strings.Contains(whole, `<option selected>malformed</option>`) {
		t.Errorf("what fails as a whole is %v", got)
	}
	form := mustShowOperator(t, s, http.StatusOK, "/dead-letters?reason=&state=open&place=&text=payload+7&since=2020-01-01T00:00&until=")
	if got := links(form, `<a href="(/dead-letters/\d+)">`); len(got) != 1 || got[0] != letterLink(ids[7]) || !strings.Contains(form, `value="2020-01-01T00:00:00"`) {
		t.Errorf("with empty fields: %v", got)
	}
	mustSay(t, mustShowOperator(t, s, http.StatusOK, "/dead-letters?state=resolved"), "Nothing is like that")
	mustSay(t, mustShowOperator(t, s, http.StatusBadRequest, "/dead-letters?reason=nonsense"), "not one of the reasons")
	mustSay(t, mustShowOperator(t, s, http.StatusOK, "/dead-letters?text=nothing+like+it"), "Nothing is like that")
}

// noOperator offers decisions and takes none.
type noOperator struct{ Operator }
