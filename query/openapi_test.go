package query

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderbox/inbox"
	"orderbox/internal/contract"
	"orderbox/internal/testservers"
)

var documented = sync.OnceValues(func() (*contract.Contract, error) { return contract.Parse(openAPI) })

// serve answers a request, and holds the answer against the contract: no test gets one that is not in it.
func serve(tb testing.TB, s *Server, r *http.Request, sent string) *http.Response {
	tb.Helper()
	w := httptest.NewRecorder()
	s.router().ServeHTTP(w, r)
	if !isPage(r.URL.Path) {
		mustKeep(tb, r, sent, w)
	}
	return w.Result()
}

// mustKeep returns which answer of the contract it is.
func mustKeep(tb testing.TB, r *http.Request, sent string, w *httptest.ResponseRecorder) (name string) {
	tb.Helper()
	c, err := documented()
	if err != nil {
		tb.Fatal(err)
	}
	if name, err = c.Check(r, []byte(sent), w.Result(), w.Body.Bytes()); err != nil {
		tb.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
	return name
}

// Pages are for people, and may change with every version.
func TestTheContractHasEveryRouteAndNoOther(t *testing.T) {
	t.Parallel()
	c, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, rt := range idle(t, Options{}).routes() {
		if !isPage(rt.path) {
			routes = append(routes, rt.method+" "+rt.path)
		}
	}
	slices.Sort(routes)
	if has := c.Operations(); !slices.Equal(has, routes) {
		t.Errorf("the contract has\n%q\nand there are\n%q", has, routes)
	}
}

// asked collects which answers of the contract were given.
type asked struct {
	t     *testing.T
	c     *contract.Contract
	given map[string]bool
}

const octets = "application/octet-stream"

// ask asks for an operation with a body, as ann unless she is forgotten. What stands in braces is an order a, or a dead letter 1.
func (a *asked) ask(s *Server, operation, text string, header ...string) {
	a.t.Helper()
	method, path, _ := strings.Cut(operation, " ")
	path = strings.NewReplacer("{order_uid}", "a", "{id}", "1").Replace(path)
	r := httptest.NewRequestWithContext(a.t.Context(), method, path, strings.NewReader(text))
	r.RemoteAddr = newAddress()
	r.Header.Set("Authorization", "Bearer right")
	r.Header.Set("Content-Type", typeJSON)
	if strings.HasSuffix(path, "/amend") && strings.Count(path, "/") == 5 {
		r.Header.Set("Content-Type", octets)
	}
	for i := 0; i < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "From" {
			r.RemoteAddr = header[i+1]
		}
	}
	w := httptest.NewRecorder()
	s.router().ServeHTTP(w, r)
	a.given[mustKeep(a.t, r, text, w)] = true
}

// with asks with the example of the body, changed.
func (a *asked) with(s *Server, operation string, change map[string]any) {
	a.t.Helper()
	body := a.c.Body(operation)
	maps.Copy(body, change)
	text, err := json.Marshal(body)
	if err != nil {
		a.t.Fatal(err)
	}
	a.ask(s, operation, string(text))
}

// A 500 is a mistake of ours: it is documented everywhere, and nobody can ask for it.
func TestEveryAnswerInTheContractIsGiven(t *testing.T) {
	t.Parallel()
	c, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	a := &asked{t, c, make(map[string]bool)}
	tokens := []Token{{"ann", "right"}}
	a.refusals(idle(t, Options{}), idle(t, Options{Tokens: tokens}))
	var outcome error
	order := func(context.Context) (string, error) { return "generation_2", outcome }
	giveUp := func(context.Context) (bool, error) { return true, outcome }
	options := Options{Tokens: tokens, Stats: func(context.Context) (Stats, error) { return Stats{}, outcome }, Replays: &Replays{
		Order: order, RollBack: order, Cancel: giveUp, DropPrevious: giveUp,
		Progress: func(context.Context) (Replay, error) { return Replay{InService: "generation_2"}, outcome },
		Changed:  func(context.Context) (Change, error) { return Change{Details: noChange}, nil },
		Try: func(schema []byte) (func(context.Context, func(int64, int64)) (Change, error), error) {
			if string(schema) == "rubbish" {
				return nil, Refusal{"This is no JSON Schema."}
			}
			return func(context.Context, func(int64, int64)) (Change, error) { return Change{Details: noChange}, nil }, nil
		},
		Ramp: func(context.Context, string, Ramp, func(Wave)) error { return nil },
	}}
	p := newProjection(t)
	nowhere := testservers.Open(t, "postgres://nobody@127.0.0.1:1/none", 1)
	options.Operator = inbox.New(nowhere, nil)
	away, err := New(nowhere, options)
	if err != nil {
		t.Fatal(err)
	}
	a.answers(p, options, &outcome)
	a.outage(away, &outcome)

	for _, answer := range c.Answers() {
		if !a.given[answer] && !strings.HasSuffix(answer, " 500") {
			t.Errorf("documented and never given: %s", answer)
		}
	}
}

// refusals asks for everything where nothing is offered, and where somebody else asks.
func (a *asked) refusals(off, on *Server) {
	for range 3 * maxGuesses {
		a.ask(on, "GET /api/v1/replay", "", "Authorization", "Bearer wrong", "From", "10.255.0.1:1")
	}
	for _, operation := range a.c.Operations() {
		if name := operation; slices.Contains(public, name) {
			continue
		}
		a.ask(off, operation, "")
		a.ask(on, operation, "", "Authorization", "")
		a.ask(on, operation, "", "From", "10.255.0.1:1")
		if strings.HasPrefix(operation, "POST") {
			a.ask(on, operation, "")
			a.ask(on, operation, "", "Origin", "https://elsewhere.example")
		}
	}
	a.ask(on, "GET /api/v1/replay", "")
	a.ask(on, "GET /api/v1/stats", "")
	a.ask(on, "DELETE /api/v1/stats", "")
	a.ask(on, "GET /api/v1/nowhere", "")
}

// answers asks for everything where everything is offered.
func (a *asked) answers(p *projection, o Options, outcome *error) {
	t := a.t
	o.Operator = inbox.New(testservers.Open(t, p.ServiceURL, 2), nil)
	s := newRunning(t, p, o)
	letters := make(map[string]int64)
	for _, kind := range []string{kindRetry, kindAmend, kindDiscard, kindReopen, "other"} {
		letters[kind] = p.mustRefuse(t, []byte(`{"payment": {"currency": "test-order"}}`), "invalid", `[{"pointer": "/payment/currency", "keyword": "enum", "message": "m"}]`, nil)
	}
	p.mustTx(t, p.generation, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `update dead_letters set discarded = true where position = $1`, letters[kindReopen])
		return err
	})
	p.mustProject(t, mustModel(t, "a"))
	p.mustNotify(t)
	testservers.Eventually(t, "the order is seen", func() bool { _, ok := s.cache().get("a"); return ok })

	large := strings.Repeat("x", 1<<20+1)
	for _, operation := range a.c.Operations() {
		method, path, _ := strings.Cut(operation, " ")
		if method == "GET" {
			a.ask(s, operation, "")
			a.ask(s, operation, "", "If-None-Match", "*")
			if a.c.Parameters(operation).Has("order_uid") {
				a.ask(s, operation+"?order_uid=a", "", "If-None-Match", "*")
			}
			for name, example := range a.c.Parameters(operation) {
				a.parameter(s, operation, name, example[0])
			}
		}
		if strings.Contains(path, "{id}") {
			for _, id := range []string{"x", "999999"} {
				a.ask(s, strings.ReplaceAll(operation, "{id}", id), `{"note": "n"}`)
			}
		}
		if method == "POST" {
			a.ask(s, operation, large)
		}
	}
	for _, operation := range []string{"GET /api/v1/orders/{order_uid}", "GET /api/v1/orders/{order_uid}/source", "GET /api/v1/orders?order_uid={order_uid}"} {
		for _, uid := range []string{"none", "%00"} {
			a.ask(s, strings.ReplaceAll(operation, "{order_uid}", uid), "")
		}
	}
	a.ask(s, "GET /api/v1/dead-letters?limit=0", "")
	a.ask(s, "GET /api/v1/dead-letters/groups?by=x", "")
	a.ask(s, fmt.Sprintf("GET /api/v1/dead-letters/%d/payload", letters["other"]), "")
	for _, kind := range []string{kindRetry, kindAmend, kindDiscard, kindReopen} {
		operation := "POST /api/v1/dead-letters/" + kind
		a.ask(s, operation, `{}`)
		a.with(s, operation, map[string]any{"preview": true, "expect": nil})
		a.with(s, operation, map[string]any{"preview": true, "expect": 77})
		one := fmt.Sprintf("POST /api/v1/dead-letters/%d/%s", letters[kind], kind)
		a.ask(s, one, `{"note": "n"}`)
		a.ask(s, one, `{"note": "n"}`)
	}
	a.ask(s, "POST /api/v1/dead-letters/{id}/amend?note=n", "x", "Content-Type", "text/plain")
	for _, kind := range []string{kindRetry, kindAmend, kindDiscard, kindReopen} {
		a.with(s, "POST /api/v1/dead-letters/"+kind, map[string]any{"preview": false, "expect": nil})
	}
	a.replays(p, s, outcome)
}

// parameter asks for an operation with a parameter's example, which must be taken.
func (a *asked) parameter(s *Server, operation, name, example string) {
	method, path, _ := strings.Cut(operation, " ")
	path = strings.NewReplacer("{order_uid}", "a", "{id}", "1").Replace(path)
	r := do(a.t, s, method, path+"?"+name+"="+url.QueryEscape(example), "Authorization", "Bearer right")
	if r.StatusCode == http.StatusBadRequest {
		a.t.Errorf("%s does not take %s=%s: %s", operation, name, example, body(a.t, r.StatusCode, r))
	}
}

// noChange is what a replay that changes nothing says.
var noChange = json.RawMessage(`{"from": "generation_1", "to": "generation_2", "at": 7, "orders": {"appear": 0, "vanish": 0, "change": 0, "move": 0},
	"dead_letters": {"resolved": 0, "arise": 0, "change": 0, "state": 0}, "duplicates": 0, "attempts": 0, "tables": [], "examples": {}}`)

// replays orders replays, which must succeed, be refused, and be malformed.
func (a *asked) replays(p *projection, s *Server, outcome *error) {
	const of = "POST /api/v1/replay/"
	for _, errand := range []string{"changes", "dry-run", "dead-letters"} {
		a.ask(s, of+errand, "")
		awaitErrand(a.t, s, errand, errandDone)
	}
	a.ask(s, of+"dry-run", "rubbish")
	a.with(s, of+"dead-letters", map[string]any{"from": -1})
	// One that is not begun is under way for as long as one likes.
	o := s.o
	o.Metrics = nil
	waiting, full := newServer(a.t, p, o), newServer(a.t, p, o)
	for _, refused := range []error{nil, Refusal{"Not now."}} {
		*outcome = refused
		for _, what := range []string{"order", "rollback", "cancel", "drop-previous"} {
			a.ask(waiting, of+what, "")
		}
	}
	for _, errand := range []string{"changes", "dry-run", "dead-letters"} {
		a.ask(waiting, of+errand, "")
		a.ask(waiting, of+errand, "")
	}
	for _, errand := range []string{"dry-run", "dead-letters"} {
		a.ask(s, of+errand+"/cancel", "")
		a.ask(waiting, of+errand+"/cancel", "")
	}
	*outcome = nil
	for range maxErrands {
		a.ask(full, of+"order", "")
	}
	full.changed.forget()
	for _, errand := range []string{"changes", "dry-run", "dead-letters"} {
		a.ask(full, of+errand, "")
	}
}

// outage asks for everything while the database is away.
func (a *asked) outage(s *Server, outcome *error) {
	*outcome = context.DeadlineExceeded
	s.feed.subscribers = maxSubscribers
	for _, operation := range a.c.Operations() {
		body := `{"note": "n"}`
		if a.c.Body(operation) != nil {
			a.with(s, operation, map[string]any{"preview": true})
			if strings.Contains(operation, "replay") || strings.Contains(operation, "{id}") {
				a.ask(s, operation, body)
			}
			continue
		}
		a.ask(s, operation, body)
	}
}
