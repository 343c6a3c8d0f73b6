package query

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"orderbox/inbox"
	"orderbox/internal/testservers"
)

func TestAPatchKeepsTheSpellingOfWhatItDoesNotTouch(t *testing.T) {
	t.Parallel()
	const payload = ` {"z": 1.0e5, "b": {"n": 12345678901234567890.10, "t": "<b>&\u003c \u00e9", "y": 1}, "a": [1, 2.50], "x": null}`
	for text, want := range map[string]string{
		`[{"op": "replace", "path": "/b/y", "value": 1.50}]`:                            `{"z":1.0e5,"b":{"n":12345678901234567890.10,"t":"<b>&\u003c \u00e9","y":1.50},"a":[1,2.50],"x":null}`,
		`[{"op": "add", "path": "/a/-", "value": 1E400}]`:                               `{"z":1.0e5,"b":{"n":12345678901234567890.10,"t":"<b>&\u003c \u00e9","y":1},"a":[1,2.50,1E400],"x":null}`,
		`[{"op": "move", "from": "/b/n", "path": "/n"}]`:                                `{"z":1.0e5,"b":{"t":"<b>&\u003c \u00e9","y":1},"a":[1,2.50],"x":null,"n":12345678901234567890.10}`,
		`[{"op": "test", "path": "/x", "value": null}, {"op": "remove", "path": "/b"}]`: `{"z":1.0e5,"a":[1,2.50],"x":null}`,
	} {
		p, err := parsePatch([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := p.apply([]byte(payload)); !ok || string(got) != want {
			t.Errorf("%s: %v\n got %s\nwant %s", text, ok, got, want)
		}
	}
}

func TestAPatchDoesNotApplyToWhatItDoesNotFit(t *testing.T) {
	t.Parallel()
	const remove = `[{"op": "remove", "path": "/a"}]`
	for _, c := range []struct{ patch, payload string }{
		{remove, ``}, {remove, `{`}, {remove, `{"a": 1} x`}, {remove, `null`}, {remove, `3`}, {remove, `[1]`}, {remove, `{"b": 1}`},
		{remove, `{"a": 1, "a": 2}`}, {remove, "{\"a\": 1, \"b\": \"\xff\"}"}, {remove, `{"a": 1, "b": {"c": 1, "c": 1}}`},
		{`[{"op": "test", "path": "/a", "value": 1.0}]`, `{"a": 2}`},
		{`[{"op": "test", "path": "/b", "value": null}]`, `{"a": 2}`},
		{`[{"op": "replace", "path": "/a/-1", "value": 1}]`, `{"a": [1]}`},
		{`[{"op": "add", "path": "/b/c", "value": 1}]`, `{"a": 2}`},
		{`[{"op": "add", "path": "/b", "value": "` + strings.Repeat("x", maxPayload) + `"}]`, `{}`},
	} {
		p, err := parsePatch([]byte(c.patch))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := p.apply([]byte(c.payload)); ok {
			t.Errorf("%.80s applies to %q: %s", c.patch, c.payload, got)
		}
	}
}

func TestWhatIsNoPatchIsSaid(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		``, `x`, `{}`, `null`, `[]`, `[1]`, `[null]`, `[{"op": "frob", "path": "/a"}]`, `[{"op": "add", "path": "/a"}]`, `[{"op": "test", "path": "/a"}]`,
		`[{"op": "remove", "path": "a"}]`, `[{"op": "remove"}]`, `[{"op": "move", "path": "/a"}]`, `[{"op": "copy", "from": "b", "path": "/a"}]`,
		`[{"op": "remove", "path": "/a", "path": "/b"}]`, `[` + strings.Repeat(`{"op": "remove", "path": "/a"},`, maxOperations) + `{"op": "remove", "path": "/a"}]`,
	} {
		if _, err := parsePatch([]byte(text)); err == nil {
			t.Errorf("%.80s is a patch", text)
		}
	}
}

// newAmending has three that a patch of the amount fits, one with another currency, and one that is no JSON. What has a
// 7 in it passes the schema.
func newAmending(t *testing.T) (p *projection, s *Server, fits []int64) {
	t.Helper()
	p = newProjection(t)
	s = newServer(t, p, Options{Tokens: []Token{{"ann", "right"}}, Operator: inbox.New(testservers.Open(t, p.ServiceURL, 2), nil),
		Judge: func(_ context.Context, payloads [][]byte) (passing int, err error) {
			for _, payload := range payloads {
				passing += strings.Count(string(payload), "7}")
			}
			return passing, nil
		}})
	for i := range 3 {
		fits = append(fits, p.mustRefuse(t, fmt.Appendf(nil, `{"id": %d.0, "amount": "x", "currency": "RUB", "sum": %d}`, i, i+6), "invalid", "[]", nil))
	}
	p.mustRefuse(t, []byte(`{"amount": "x", "currency": "USD", "sum": 7}`), "invalid", "[]", nil)
	p.mustRefuse(t, []byte(`no JSON`), "invalid", "[]", nil)
	return p, s, fits
}

const amountPatch = `[{"op": "test", "path": "/currency", "value": "RUB"}, {"op": "replace", "path": "/amount", "value": 18.170}]`

func TestManyAreAmendedByAPatchAndTheRestIsLeftOut(t *testing.T) {
	t.Parallel()
	p, s, fits := newAmending(t)
	type answer struct {
		bulkAnswer
		Unpatched int
		Passing   *int
	}
	request := `{"filter": {"reason": "invalid"}, "patch": ` + amountPatch + `, "note": "by hand", "preview": %t, "expect": 3}`
	preview := mustDecode[answer](t, http.StatusOK, bulk(t, s, "amend", fmt.Sprintf(request, true)))
	if preview.bulkAnswer != (bulkAnswer{3, 2}) || preview.Unpatched != 2 || preview.Passing == nil || *preview.Passing != 1 {
		t.Errorf("preview %+v", preview)
	}
	if n := len(p.decided(t, "amend")); n != 0 {
		t.Fatalf("a preview decided about %d", n)
	}
	done := mustDecode[answer](t, http.StatusAccepted, bulk(t, s, "amend", fmt.Sprintf(request, false)))
	if done.bulkAnswer != preview.bulkAnswer || done.Unpatched != 2 || done.Passing != nil {
		t.Errorf("done %+v", done)
	}
	if got := p.decided(t, "amend"); !slices.Equal(got, fits) {
		t.Errorf("decided about %v, want %v", got, fits)
	}
	story := mustStory(t, s, fits[1])
	if h := story.History[0]; h.By != "ann" || h.Note != "by hand" || h.Kind != "amend" {
		t.Errorf("history %+v", h)
	}
	entered := operatorGet(t, s, fmt.Sprintf("/api/v1/dead-letters/%d/payload?entry=%d", fits[1], *story.History[0].Entry))
	if got := string(body(t, http.StatusOK, entered)); got != `{"id":1.0,"amount":18.170,"currency":"RUB","sum":7}` {
		t.Errorf("entered was %s", got)
	}
	if got := string(body(t, http.StatusOK, operatorGet(t, s, fmt.Sprintf("/api/v1/dead-letters/%d/payload", fits[1])))); !strings.Contains(got, `"x"`) {
		t.Errorf("the original is %s", got)
	}
	again := mustDecode[answer](t, http.StatusAccepted, bulk(t, s, "amend", strings.Replace(fmt.Sprintf(request, false), `, "expect": 3`, "", 1)))
	if again.bulkAnswer != (bulkAnswer{0, 5}) || again.Unpatched != 2 {
		t.Errorf("once more: %+v", again)
	}
	for text, says := range map[string]string{`{"filter": {}}`: "not a JSON Patch", `{"filter": {}, "patch": [{"op": "add"}]}`: "JSON Patch"} {
		if got := mustDecode[problem](t, http.StatusBadRequest, bulk(t, s, "amend", text)); !strings.Contains(got.Detail, says) {
			t.Errorf("%s: %+v", text, got)
		}
	}
	if got := mustDecode[problem](t, http.StatusBadRequest, bulk(t, s, "retry", `{"filter": {}, "patch": `+amountPatch+`}`)); !strings.Contains(got.Detail, "patch") {
		t.Errorf("a retry with a patch: %+v", got)
	}
}

func TestAPatchIsPreviewedOnThePage(t *testing.T) {
	t.Parallel()
	p, s, fits := newAmending(t)
	form := func(values ...string) *http.Response {
		t.Helper()
		fields := url.Values{"reason": {"invalid"}, "patch": {amountPatch}}
		for i := 0; i < len(values); i += 2 {
			fields.Set(values[i], values[i+1])
		}
		return post(t, s, "/dead-letters/amend", fields.Encode(), "Authorization", "Bearer right", "Content-Type", "application/x-www-form-urlencoded")
	}
	mustSee := func(page []byte, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(string(page), text) {
				t.Errorf("no %q in\n%s", text, page)
			}
		}
	}
	mustSee(body(t, http.StatusOK, operatorGet(t, s, "/dead-letters")), `formaction="/dead-letters/amend"`)
	mustSee(body(t, http.StatusOK, operatorGet(t, s, "/dead-letters/amend?reason=invalid&place=/items/*/price")), "/items/0/price", `name="reason" value="invalid"`)
	mustSee(body(t, http.StatusBadRequest, form("step", "preview", "patch", `[{"op": "<i>"}]`)), "not a JSON Patch", "&lt;i&gt;")
	mustSee(body(t, http.StatusOK, form("step", "preview", "note", "n")), "3 dead letters would be amended, and judged so. The schema in force lets 1 of them through.",
		"the patch does not apply: 2 dead letters", `name="expect" value="3"`, "&#34;amount&#34;: 18.170", fmt.Sprint("dead letter ", fits[0]), "Amend 3 dead letters")
	mustSee(body(t, http.StatusOK, form("step", "change")), "18.170}]</textarea>")
	mustSee(body(t, http.StatusConflict, form("expect", "2")), "Nothing was done", "Amend 3 dead letters")
	if n := len(p.decided(t, "amend")); n != 0 {
		t.Fatalf("%d were amended by looking", n)
	}
	r := form("expect", "3", "note", "by hand")
	if location := r.Header.Get("Location"); r.StatusCode != http.StatusSeeOther || location != "/dead-letters?count=3&done=amend&reason=invalid" {
		t.Errorf("%d, to %s", r.StatusCode, location)
	}
	if got := p.decided(t, "amend"); !slices.Equal(got, fits) {
		t.Errorf("decided about %v, want %v", got, fits)
	}
}
