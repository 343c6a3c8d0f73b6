package query

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"orderbox"
	"orderbox/inbox"
	"orderbox/internal/testservers"
)

// hostile is what each place that takes a text gets, in turn: for a page, a statement, a header, a log, a terminal, a spreadsheet,
// a file name, a label. All of it is valid in an order.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `javascript:alert(1)`, `</title></textarea></script>`,
	`{{.Log}}`, `'; drop table inbox; --`, `\'; select pg_sleep(9) --`, `%' or '1'='1`, `$1`, `%s%n`, "a\r\nSet-Cookie: evil=1\r\n\r\n<b>",
	"a\nlevel=ERROR msg=forged", "\x1b[2J\x1b]0;owned\x07", "\u009b31m", "\u202egnp.exe", "=cmd|' /C calc'!A0", "@SUM(1)", `../../../../etc/passwd`, `..\..\x`,
	`/etc/passwd`, `%2e%2e%2f`, `a;b"c"`, "\u2028", `a{b="c"} 1`, "\ufeff", "💥",
}

// unsafe is what must not be in a page: what would be markup or a script if a text had become one. The values of attributes are
// taken out of tags beforehand, but for addresses.
var (
	tag    = regexp.MustCompile(`<[^>]*>`)
	value  = regexp.MustCompile(`\s[a-z-]+="[^"]*"`)
	unsafe = regexp.MustCompile(`(?i)\son[a-z]+|[='"]`)
	script = regexp.MustCompile(`(?i)<script>|<img src=x|<b>|</title></textarea>|(href|src|action|formaction)="\s*(javascript|data|vbscript):`)
)

// hostileOrder has a hostile text in every field that is one.
func hostileOrder(tb testing.TB, n int) orderbox.Order {
	tb.Helper()
	o := mustModel(tb, hostile[n])
	o.Items = append(o.Items, o.Items[0])
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).Name != "DateCreated" {
					fill(v.Field(i))
				}
			}
		case reflect.Slice:
			for i := range v.Len() {
				fill(v.Index(i))
			}
		case reflect.String:
			v.SetString(hostile[n])
		}
	}
	fill(reflect.ValueOf(&o).Elem())
	return o
}

// newHostile returns a stage with hostile orders and dead letters, whose log is kept.
func newHostile(t *testing.T) (s *Server, log *testservers.Buffer, letters []int64) {
	t.Helper()
	p, log := newProjection(t), new(testservers.Buffer)
	for n, text := range hostile {
		p.mustProject(t, hostileOrder(t, n))
		pointer, err := json.Marshal([]violation{{Pointer: "/" + text, Keyword: text, Message: text}})
		if err != nil {
			t.Fatal(err)
		}
		payload, err := json.Marshal(map[string]string{text: text})
		if n%2 == 1 || err != nil {
			payload = []byte(text)
		}
		letters = append(letters, p.mustRefuse(t, payload, "invalid", string(pointer), nil))
	}
	s = newRunning(t, p, Options{Tokens: []Token{{"ann", "right"}}, Operator: inbox.New(testservers.Open(t, p.ServiceURL, 2), nil),
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	return s, log, letters
}

// mustBeHarmless checks an answer: what came from outside is a text in it and nothing else, and the service has no fault to confess.
func mustBeHarmless(t *testing.T, what string, r *httptest.ResponseRecorder) {
	t.Helper()
	text := r.Body.String()
	switch kind, _, _ := strings.Cut(r.Header().Get("Content-Type"), ";"); kind {
	case "text/html":
		for _, tag := range tag.FindAllString(text, -1) {
			if bare := value.ReplaceAllString(tag, ""); unsafe.MatchString(bare) && !strings.HasPrefix(tag, "<!") {
				t.Errorf("%s has the tag %s", what, tag)
			}
		}
		if found := script.FindString(text); found != "" {
			t.Errorf("%s has %q in the page", what, found)
		}
	case typeJSON, typeProblem:
		if !json.Valid(r.Body.Bytes()) {
			t.Errorf("%s is no JSON: %s", what, text)
		}
	case "application/octet-stream", "application/yaml", "text/css", "text/javascript", "image/svg+xml", "text/plain", "text/event-stream", "":
	default:
		t.Errorf("%s is of the kind %q", what, kind)
	}
	if r.Code >= 500 {
		t.Errorf("%s: %d %s", what, r.Code, text)
	}
	for name, values := range r.Header() {
		if name == "Set-Cookie" && !strings.HasPrefix(values[0], cookieName+"=") || strings.ContainsAny(strings.Join(values, ""), "\r\n\x1b") {
			t.Errorf("%s has the header %s: %q", what, name, values)
		}
	}
	if to := r.Header().Get("Location"); to != "" && !isLocal(to) {
		t.Errorf("%s leads to %q", what, to)
	}
}

// paths are the addresses of a route with its variables filled in, in every way that matters.
func paths(rt route, letters []int64) (list []string) {
	switch {
	case strings.Contains(rt.path, "{order_uid}"):
		for _, text := range hostile {
			list = append(list, strings.Replace(rt.path, "{order_uid}", url.PathEscape(text), 1))
		}
	case strings.Contains(rt.path, "{id}"):
		for _, id := range letters {
			list = append(list, strings.Replace(rt.path, "{id}", strconv.FormatInt(id, 10), 1))
		}
		for _, text := range hostile {
			list = append(list, strings.Replace(rt.path, "{id}", url.PathEscape(text), 1))
		}
	case strings.Contains(rt.path, "{name}"):
		for _, text := range hostile {
			list = append(list, strings.Replace(rt.path, "{name}", url.PathEscape(text), 1))
		}
	default:
		list = []string{rt.path}
	}
	return list
}

// fields are the names of all that any route takes in a query or a form.
var fields = append([]string{"order_uid", "limit", "after", "note", "payload", "token", "next", "expect", "entry", "by", "done", "preview", "count", "sneaky"}, filterNames...)

func TestHostileTextsStayTextsEverywhere(t *testing.T) {
	t.Parallel()
	s, log, letters := newHostile(t)
	handler := s.router()
	ask := func(method, path, contentType, text string) {
		r := httptest.NewRequestWithContext(t.Context(), method, "http://orderbox/", strings.NewReader(text))
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		u.Host, r.URL, r.RequestURI, r.RemoteAddr = "orderbox", u, path, newAddress()
		r.Header.Set("Authorization", "Bearer right")
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		mustBeHarmless(t, method+" "+path+" "+text, w)
	}
	for i, rt := range s.routes() {
		// Each path and each field at least once; the texts go round beside them.
		paths := paths(rt, letters)
		for n := range max(len(paths), 2*len(fields)) {
			path, name, text := paths[n%len(paths)], fields[n%len(fields)], hostile[(n+i)%len(hostile)]
			form := url.Values{name: {text}}.Encode()
			if rt.method == http.MethodGet {
				ask(rt.method, path+"?"+form, "", "")
				continue
			}
			object, err := json.Marshal(map[string]any{name: text, "filter": map[string]string{name: text}})
			if err != nil {
				t.Fatal(err)
			}
			ask(rt.method, path, "application/x-www-form-urlencoded", form)
			ask(rt.method, path, "application/json", string(object))
		}
	}
	for _, text := range hostile {
		ask(http.MethodGet, "/"+url.PathEscape(text), "", "")
		ask(http.MethodGet, "/api/v1/"+url.PathEscape(text)+"/../../healthz", "", "")
	}

	// The notes of decisions, and names in headers, in the history of a letter.
	for i, text := range hostile {
		note, err := json.Marshal(map[string]string{"note": text})
		if err != nil {
			t.Fatal(err)
		}
		ask(http.MethodPost, fmt.Sprintf("/api/v1/dead-letters/%d/discard", letters[i]), "application/json", string(note))
		ask(http.MethodGet, fmt.Sprintf("/dead-letters/%d", letters[i]), "", "")
	}
	if text := log.String(); strings.Contains(text, "level=ERROR") || strings.ContainsAny(text, "\x1b\u009b\u2028\u202e") {
		t.Errorf("the log:\n%q", text)
	}
	mustHaveFewSeries(t, s)
}

// mustHaveFewSeries checks that clients make no labels: a series is one of a route that we have, with a code that we send.
func mustHaveFewSeries(t *testing.T, s *Server) {
	t.Helper()
	for _, method := range []string{"PURGE", "x"} {
		do(t, s, method, "/"+method+"/"+method)
	}
	known := map[string]bool{"other": true}
	for _, rt := range s.routes() {
		known[rt.path] = true
	}
	families, err := s.o.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				code, _ := strconv.Atoi(label.GetValue())
				if label.GetName() == "outcome" && slices.Contains([]string{"kept", "found", "absent", "failed"}, label.GetValue()) {
					continue // of fetches
				}
				if label.GetName() == "route" && !known[label.GetValue()] || label.GetName() == "code" && (code < 200 || code > 599) ||
					!slices.Contains([]string{"route", "code"}, label.GetName()) {
					t.Errorf("%s has the label %s=%q", family.GetName(), label.GetName(), label.GetValue())
				}
			}
		}
	}
}

// A payload is saved and never shown by a browser, under a name that is none of its own.
func TestASavedPayloadHasANameOfOurs(t *testing.T) {
	t.Parallel()
	s, _, letters := newHostile(t)
	for i, id := range letters {
		r := get(t, s, fmt.Sprintf("/api/v1/dead-letters/%d/payload", id), "Authorization", "Bearer right")
		body(t, http.StatusOK, r)
		want := fmt.Sprintf(`attachment; filename="dead-letter-%d.bin"`, id)
		if got := r.Header.Get("Content-Disposition"); got != want || r.Header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%s is saved as %q, %s", hostile[i], got, r.Header.Get("Content-Type"))
		}
	}
}

func TestNoRouteReadsABodyWithoutAnEnd(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	id := p.mustRefuse(t, []byte("x"), "invalid", `[]`, nil)
	s := newDeciding(t, p)
	for _, rt := range s.routes() {
		for _, kind := range []string{"application/x-www-form-urlencoded", "application/json", "application/octet-stream", "multipart/form-data; boundary=x"} {
			large := new(endless)
			r := httptest.NewRequestWithContext(t.Context(), rt.method, strings.ReplaceAll(rt.path, "{id}", strconv.FormatInt(id, 10)), large)
			r.Header.Set("Content-Type", kind)
			r.Header.Set("Authorization", "Bearer right")
			s.router().ServeHTTP(httptest.NewRecorder(), r)
			if large.read > 4<<20 {
				t.Errorf("%s %s reads %d bytes of %s", rt.method, rt.path, large.read, kind)
			}
		}
	}
}

// Of nothing that is the operator's may a copy stay in a cache, whoever asked.
func TestNoCacheKeepsWhatIsTheOperators(t *testing.T) {
	t.Parallel()
	s, _, letters := newHostile(t)
	open := map[string]bool{"/": true, "/status": true, "/orders": true, "/orders/{order_uid}": true, "/assets/{name}": true, "/api/v1/orders": true,
		"/api/v1/orders/{order_uid}": true, "/api/v1/stats": true, "/api/v1/events": true, "/healthz": true, "/readyz": true, "/metrics": true, "/openapi.yaml": true}
	walked := map[string]bool{}
	for _, rt := range s.routes() {
		walked[rt.path] = true
		if open[rt.path] {
			continue
		}
		for _, secret := range []string{"right", "wrong"} {
			path := strings.NewReplacer("{id}", strconv.FormatInt(letters[0], 10), "{order_uid}", "a").Replace(rt.path)
			r := do(t, s, rt.method, path, "Authorization", "Bearer "+secret)
			if got := r.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("%s %s as %s: %d with Cache-Control %q", rt.method, path, secret, r.StatusCode, got)
			}
			if rt.path != "/login" && rt.path != "/logout" && secret == "wrong" && r.StatusCode != http.StatusUnauthorized && r.StatusCode != http.StatusSeeOther {
				t.Errorf("%s %s is open: %d", rt.method, path, r.StatusCode)
			}
		}
	}
	for path := range maps.Keys(open) {
		if !walked[path] {
			t.Errorf("there is no route %s", path)
		}
	}
	// And nothing that was not asked for: profiles, variables, listings.
	for _, path := range []string{"/debug/pprof/", "/debug/vars", "/assets/", "/assets", "/.git/config", "/static/"} {
		if r := get(t, s, path, "Authorization", "Bearer right"); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
}

// The secret is nowhere but in the header or the form that brought it.
func TestASecretIsInNoAddressAndNoLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	const secret = "s3cret-of-ann"
	s := newServer(t, newProjection(t), Options{Tokens: []Token{{"ann", secret}}, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	for _, r := range []*http.Response{login(t, s, secret, "/dead-letters"), login(t, s, secret+"x", "/"), get(t, s, "/dead-letters", "Authorization", "Bearer "+secret),
		get(t, s, "/?token="+secret), get(t, s, "/login?token="+secret)} {
		page := body(t, r.StatusCode, r)
		for name, values := range r.Header {
			if strings.Contains(strings.Join(values, ""), secret) {
				t.Errorf("header %s tells it", name)
			}
		}
		if bytes.Contains(page, []byte(secret)) {
			t.Errorf("it is in the page: %s", page)
		}
	}
	if strings.Contains(log.String(), secret) {
		t.Errorf("it is in the log: %s", log.String())
	}
}
