package query

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"orderbox/static"
)

// An order is reachable under every id that the schema lets through: on the API, at the link of the lists, and
// with the form.
func FuzzID(f *testing.F) {
	for _, uid := range append(slices.Clone(hostile), ".", "..", "a/../b", "%2e%2e", "//", " ", "a+b", "?order_uid=b", "e\u0301", "a/source", strings.Repeat("/", 64)) {
		f.Add(uid)
	}
	s := idle(f, Options{})
	link := regexp.MustCompile(`<li data-uid="[^"]*">\s*<a href="([^"]*)">`)
	f.Fuzz(func(t *testing.T, uid string) {
		if !isText(uid) || uid == "" || utf8.RuneCountInString(uid) > maxUIDLength {
			t.Skip("no id by the schema")
		}
		o := mustModel(t, uid)
		c := newCache(generation{}, nil)
		c.add(1, uid, o.JSON())
		c.complete.Store(true)
		s.follower.serving.Store(c)

		for _, path := range []string{"/api/v1/orders/" + url.PathEscape(uid), "/api/v1/orders?order_uid=" + url.QueryEscape(uid), "/api/v1" + orderLink(uid)} {
			if got := body(t, http.StatusOK, get(t, s, path)); !bytes.Equal(got, o.JSON()) {
				t.Fatalf("%s of %q: %s", path, uid, got)
			}
		}
		found := link.FindStringSubmatch(mustShow(t, s, http.StatusOK, "/"))
		if found == nil {
			t.Fatalf("no link to %q", uid)
		}
		address, err := url.Parse(html.UnescapeString(found[1]))
		if err != nil || strings.Contains(address.EscapedPath(), "//") || isDots(address.EscapedPath()[strings.LastIndex(address.EscapedPath(), "/")+1:]) {
			t.Fatalf("a browser goes somewhere else than to %s (%v)", found[1], err)
		}
		page := mustShow(t, s, http.StatusOK, address.String())
		if heading(page) != uid {
			t.Fatalf("%s is not the page of %q", found[1], uid)
		}
		if strings.TrimSpace(uid) == "" {
			return // nothing to search for
		}
		searched := get(t, s, "/orders?order_uid="+url.QueryEscape(uid))
		if to := searched.Header.Get("Location"); !isDots(uid) && to != orderLink(uid) || isDots(uid) && searched.StatusCode != http.StatusOK {
			t.Fatalf("the form sends %q to %q, with %d", uid, to, searched.StatusCode)
		}
	})
}

// Whatever stands in an address, the answer is one that a client can live with and holds no markup of others.
func FuzzRequest(f *testing.F) {
	p := newProjection(f)
	p.mustProject(f, mustModel(f, "a"))
	letter := p.mustRefuse(f, []byte(`{"a":1}`), "invalid", `[{"pointer":"/a","keyword":"type","message":"is wrong"}]`, nil)
	s := newRunning(f, p, Options{Tokens: []Token{{"ann", "right"}}})
	handler := s.router()
	for i, rt := range s.routes() {
		if rt.method == http.MethodGet {
			path := strings.NewReplacer("{id}", fmt.Sprint(letter), "{order_uid}", "a").Replace(rt.path)
			f.Add(path, url.Values{fields[i%len(fields)]: {hostile[i%len(hostile)]}}.Encode())
		}
	}
	for _, query := range []string{"limit=1&after=5", "after=9223372036854775807", "after=-1", "limit=1e2", "since=2021-02-30T00:00:00Z", "until=9999-12-31T23:59:59.999999999-23:59",
		"since=0000-01-01T00:00:00Z", "place=/items/*/price", "place=", "text=%00", "text=%ff", "state=any&reason=invalid", "%zz", "a;b", "entry=1", "by=place", "ids=1"} {
		f.Add("/api/v1/dead-letters", query)
		f.Add("/dead-letters", query)
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		u, err := url.ParseRequestURI("/" + strings.TrimPrefix(path, "/") + "?" + query)
		if err != nil {
			t.Skip("net/http refuses it")
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://orderbox/", nil)
		u.Scheme, u.Host, r.URL, r.RequestURI, r.RemoteAddr = "", "orderbox", u, u.RequestURI(), newAddress()
		r.Header.Set("Authorization", "Bearer right")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		mustBeHarmless(t, u.String(), w)
		if !isPage(u.Path) {
			r.URL.RawQuery = "" // who takes no parameters does not look at them
			mustKeep(t, r, "", w)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), typeProblem) {
			var p problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code || p.Fix == "" {
				t.Fatalf("%s: %d %s (%v)", u, w.Code, w.Body, err)
			}
		}
	})
}

// No payload, and no dead letter that was written by another schema, breaks the page; all that it shows is
// the message's own, and what is wrong is marked once.
func FuzzPayloadView(f *testing.F) {
	for _, payload := range []string{"", `{"a":[1,{"b":"c"}]}`, "{", "\xff", "[[]]", "\n\n", `{"a":1,"a":2}`, "1 2", "é", `{"\ud800":"\u0000"}`, "\r\n<b>\r", `{"a~b":{"c/d":1}}`} {
		f.Add([]byte(payload), "/a/1/b", 3)
	}
	for _, pointer := range []string{"", "/", "//", "/a~1b/~0", "~", "a", "/-1", "/99999999999999999999"} {
		f.Add([]byte(`{"a":[1,{"b":"c"}],"":{"":0}}`), pointer, -1)
	}
	site := idle(f, Options{}).site
	f.Fuzz(func(t *testing.T, payload []byte, pointer string, at int) {
		for _, sentence := range []string{"", fmt.Sprintf("at byte %d", at)} {
			v := newPayloadView(payload, sentence, []violation{{pointer, "k", "m"}})
			if v.Form == "JSON" && !v.Cut && v.Unmarked != 0 {
				t.Errorf("%q, %q: the fault is marked nowhere", payload, pointer)
			}
			if v.Form == "JSON" && !v.Cut {
				if again := newPayloadView([]byte(v.Editable), sentence, nil); again.Editable != v.Editable && v.IsText {
					t.Errorf("%q is laid out as %q, and that as %q", payload, v.Editable, again.Editable)
				}
			}
			if !v.Cut {
				mustShowAll(t, payload, v)
			}
			page, err := site.Render(static.English, "letter", letterView{Payload: v})
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			w.Header().Set("Content-Type", typeHTML)
			w.Body.Write(page)
			mustBeHarmless(t, fmt.Sprintf("%q", payload), w)
		}
	})
}

// mustShowAll fails unless a view shows its payload, the whole payload and nothing but the payload.
func mustShowAll(t *testing.T, payload []byte, v payloadView) {
	t.Helper()
	var shown strings.Builder
	for _, line := range v.Lines {
		for _, part := range line.Parts {
			shown.WriteString(part.Text)
		}
		shown.WriteByte('\n')
	}
	got, want := shown.String(), string(payload)
	switch v.Form {
	case "JSON":
		var g, w bytes.Buffer
		if json.Compact(&g, []byte(got)) == nil && json.Compact(&w, payload) == nil {
			got, want = g.String(), w.String()
		}
	case "Text":
		var lines strings.Builder
		for line := range strings.Lines(want) {
			lines.WriteString(strings.TrimRight(line, "\r\n") + "\n")
		}
		if want = lines.String(); len(payload) == 0 {
			want = "\n"
		}
	case "Bytes":
		var all strings.Builder
		for line := range strings.Lines(got) {
			all.WriteString(strings.ReplaceAll(line[10:10+3*16], " ", ""))
		}
		got, want = all.String(), hex.EncodeToString(payload)
	}
	if got != want {
		t.Fatalf("%q is shown as %q (%s)", want, got, v.Form)
	}
}

// Where an order's values stand is told of any order.
func FuzzSource(f *testing.F) {
	f.Add("text", int64(1))
	f.Add("\"\\/\u2028<", int64(-1<<63))
	f.Fuzz(func(t *testing.T, text string, number int64) {
		o := mustModel(t, text)
		o.Items[0].Name, o.Items[0].Status, o.Delivery.City = text, number, text
		values, err := pointTo(nil, "", o.JSON())
		if err != nil {
			t.Fatal(err)
		}
		var name, status any
		for _, v := range values {
			switch v.Pointer {
			case "/items/0/name":
				name = mustValue[string](t, v.Value)
			case "/items/0/status":
				status = mustValue[int64](t, v.Value)
			}
		}
		if want := strings.ToValidUTF8(text, "\ufffd"); utf8.ValidString(text) && name != any(want) || status != any(number) {
			t.Fatalf("%q and %d are told as %q and %v", text, number, name, status)
		}
	})
}

func mustValue[T any](t *testing.T, spelt json.RawMessage) (v T) {
	t.Helper()
	if err := json.Unmarshal(spelt, &v); err != nil {
		t.Fatalf("%s: %v", spelt, err)
	}
	return v
}
