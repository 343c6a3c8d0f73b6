package query

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// idle is a stage that never asks its database.
func idle(tb testing.TB, o Options) *Server {
	tb.Helper()
	s, err := New(nil, o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// What anybody may ask for. A route that is not named here must want the operator's token.
var public = []string{
	"GET /", "GET /orders", "GET /orders/{order_uid}", "GET /assets/{name}", "GET /login", "POST /login", "POST /logout", "POST /preferences", "GET /status",
	"GET /api/v1/orders", "GET /api/v1/orders/{order_uid}", "GET /api/v1/stats", "GET /api/v1/events", "GET /healthz", "GET /readyz", "GET /metrics", "GET /openapi.yaml",
}

func TestOperatorsPathsOpenToTheTokenAlone(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustProject(t, mustModel(t, "a"))
	off, on := idle(t, Options{}), newRunning(t, p, Options{Tokens: []Token{{"ann", "right"}}})
	open := slices.Clone(public)
	for _, rt := range on.routes() {
		name := rt.method + " " + rt.path
		if i := slices.Index(open, name); i >= 0 {
			open = slices.Delete(open, i, i+1)
			continue
		}
		path := strings.NewReplacer("{id}", "1", "{order_uid}", "a").Replace(rt.path)
		refused := string(body(t, http.StatusForbidden, do(t, off, rt.method, path, "Authorization", "Bearer ")))
		if !strings.Contains(refused, "ORDERBOX_OPERATOR_TOKEN") {
			t.Errorf("%s is off: %s", name, refused)
		}
		for _, header := range [][]string{{}, {"Authorization", ""}, {"Authorization", "Bearer wrong"}, {"Authorization", "Bearer"},
			{"Authorization", "Basic right"}, {"Authorization", "right"}, {"Cookie", cookieName + "=right"}} {
			r := do(t, on, rt.method, path, header...)
			if isPage(path) { // a person is asked to log in
				body(t, http.StatusSeeOther, r)
				to, err := url.Parse(r.Header.Get("Location"))
				if err != nil || to.Path != "/login" {
					t.Errorf("%s with %q leads to %s", name, header, to)
				} else if next := do(t, on, "GET", to.Query().Get("next"), "Authorization", "Bearer right"); next.StatusCode == http.StatusMethodNotAllowed {
					t.Errorf("%s leads to %s after a login", name, to.Query().Get("next"))
				}
				continue
			}
			body(t, http.StatusUnauthorized, r)
			if !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer ") || r.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s with %q: headers %v", name, header, r.Header)
			}
		}
		for _, scheme := range []string{"Bearer", "bearer"} {
			r := do(t, on, rt.method, path, "Authorization", scheme+" right")
			if r.StatusCode == http.StatusUnauthorized || r.StatusCode == http.StatusForbidden || r.StatusCode >= 500 {
				t.Errorf("%s with the token: %d", name, r.StatusCode)
			}
			if r.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s may be kept by caches", name)
			}
		}
	}
	if len(open) > 0 {
		t.Errorf("there are no such routes: %q", open)
	}
}

func TestEveryRouteRefusesOtherMethodsAndOffersHead(t *testing.T) {
	t.Parallel()
	s := newRunning(t, newProjection(t), Options{Tokens: []Token{{"ann", "right"}}})
	offered := map[string][]string{}
	for _, rt := range s.routes() {
		offered[rt.path] = append(offered[rt.path], rt.method)
	}
	for path, methods := range offered {
		path := strings.NewReplacer("{order_uid}", "a", "{id}", "1", "{name}", "a").Replace(path)
		r := do(t, s, http.MethodPut, path)
		body(t, http.StatusMethodNotAllowed, r)
		if got, want := r.Header.Get("Allow"), strings.Replace(strings.Join(methods, ", "), "GET", "GET, HEAD", 1); got != want {
			t.Errorf("%s allows %q, not %q", path, got, want)
		}
		if !slices.Contains(methods, http.MethodGet) {
			body(t, http.StatusMethodNotAllowed, get(t, s, path))
			continue
		}
		head, get := do(t, s, http.MethodHead, path), get(t, s, path)
		if head.StatusCode != get.StatusCode {
			t.Errorf("%s: HEAD answers %d, GET %d", path, head.StatusCode, get.StatusCode)
		}
	}
}

func TestEveryAnswerIsSecured(t *testing.T) {
	t.Parallel()
	s := newRunning(t, newProjection(t), Options{Tokens: []Token{{"ann", "right"}}})
	routes := append(s.routes(), route{"GET", "/nowhere", nil}, route{"GET", "/api/nowhere", nil}, route{"PUT", "/", nil})
	for _, rt := range routes {
		path := strings.NewReplacer("{order_uid}", "a", "{id}", "1", "{name}", "a").Replace(rt.path)
		header := do(t, s, rt.method, path, "Authorization", "Bearer right").Header
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; " +
				"img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
	}
}

func TestErrorsAreProblemsForProgramsAndPagesForPeople(t *testing.T) {
	t.Parallel()
	s := idle(t, Options{})
	for path, kind := range map[string]string{
		"/api/v1/nowhere": "application/problem+json", "/api/": "application/problem+json",
		"/nowhere": "text/html; charset=utf-8", "/orders//": "text/html; charset=utf-8",
	} {
		r := get(t, s, path)
		body(t, http.StatusNotFound, r)
		if got := r.Header.Get("Content-Type"); got != kind {
			t.Errorf("%s is answered with %s", path, got)
		}
	}
}

// handled runs a handler in place of a route's, and returns the answer and the log.
func handled(t *testing.T, ctx context.Context, h handler) (*http.Response, string) {
	t.Helper()
	var log bytes.Buffer
	s := idle(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	w := httptest.NewRecorder()
	s.adapt(route{method: http.MethodGet, path: "/api/test", handle: h}).
		ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/test", nil))
	return w.Result(), log.String()
}

func TestUnknownErrorIsLoggedAndNotTold(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]handler{
		"error": func(http.ResponseWriter, *http.Request) error {
			return fmt.Errorf("read: %w", errors.New("the secret"))
		},
		"panic": func(http.ResponseWriter, *http.Request) error { panic("the secret") },
	} {
		r, log := handled(t, t.Context(), h)
		if got := body(t, http.StatusInternalServerError, r); bytes.Contains(got, []byte("secret")) {
			t.Errorf("%s: the client is told %s", name, got)
		}
		if !strings.Contains(log, "the secret") || !strings.Contains(log, "/api/test") {
			t.Errorf("%s: the log says %q", name, log)
		}
	}
}

func TestClientThatLeftIsNoError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, log := handled(t, ctx, func(_ http.ResponseWriter, r *http.Request) error { return r.Context().Err() })
	if got := body(t, http.StatusOK, r); len(got) > 0 || log != "" {
		t.Errorf("answered %s, logged %q", got, log)
	}
}

func TestWorldsFaultsAre503AndOursAre500(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		status int
	}{
		{context.DeadlineExceeded, 503},
		{io.ErrUnexpectedEOF, 503},
		{&net.OpError{Op: "read", Err: errors.New("reset")}, 503},
		{&pgconn.PgError{Code: "57P01"}, 503}, // the server shuts down
		{&pgconn.PgError{Code: "53300"}, 503}, // too many connections
		{&pgconn.PgError{Code: "42703"}, 500}, // no such column
		{&pgconn.PgError{Code: "42501"}, 500}, // no such right
		{errors.New("whatever"), 500},
	} {
		r, _ := handled(t, t.Context(), func(http.ResponseWriter, *http.Request) error { return fmt.Errorf("read: %w", c.err) })
		if r.StatusCode != c.status {
			t.Errorf("%v: %d, want %d", c.err, r.StatusCode, c.status)
		}
	}
}

func TestErrorAfterTheFirstByteAddsNothing(t *testing.T) {
	t.Parallel()
	r, log := handled(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) error {
		w.Write([]byte("half"))
		return errors.New("the rest is lost")
	})
	if got := body(t, http.StatusOK, r); string(got) != "half" || !strings.Contains(log, "the rest is lost") {
		t.Errorf("answered %s, logged %q", got, log)
	}
}

func TestBalanceIsWhatIsSupplied(t *testing.T) {
	t.Parallel()
	want := Stats{Received: 6, Orders: 3, Duplicates: 1, DeadLetters: 1, Pending: 1, Missing: 5, Gaps: 2}
	s := idle(t, Options{Stats: func(context.Context) (Stats, error) { return want, nil }})
	if got := mustDecode[Stats](t, http.StatusOK, get(t, s, "/api/v1/stats")); got != want {
		t.Errorf("%+v", got)
	}
	away := idle(t, Options{Stats: func(context.Context) (Stats, error) { return Stats{}, context.DeadlineExceeded }})
	body(t, http.StatusServiceUnavailable, get(t, away, "/api/v1/stats"))
	body(t, http.StatusNotFound, get(t, idle(t, Options{}), "/api/v1/stats"))
}

func TestRequestsAndCacheAreMeasured(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustProject(t, mustModel(t, "a"))
	s := newRunning(t, p, Options{})
	handler := s.router()
	for _, path := range []string{"/api/v1/orders/a", "/api/v1/orders/a", "/api/v1/orders/b", "/nowhere", "/metrics"} {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
	}
	got := string(body(t, http.StatusOK, get(t, s, "/metrics")))
	for _, line := range []string{
		`orderbox_http_request_duration_seconds_count{code="200",route="/api/v1/orders/{order_uid}"} 2`,
		`orderbox_http_request_duration_seconds_count{code="404",route="/api/v1/orders/{order_uid}"} 1`,
		`orderbox_http_request_duration_seconds_count{code="404",route="other"} 1`,
		`orderbox_http_request_duration_seconds_count{code="200",route="/metrics"} 1`,
		`orderbox_cache_orders 1`, `orderbox_cache_position 1`, `orderbox_cache_lag_messages 0`, `orderbox_cache_bytes 4.194304e+06`,
		`orderbox_cache_next_orders 0`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
}

func TestOptionsAreCheckedAllAtOnce(t *testing.T) {
	t.Parallel()
	fine := func(context.Context) error { return nil }
	_, err := New(nil, Options{Poll: -1, Checks: map[string]func(context.Context) error{"cache": fine}})
	if err == nil || !strings.Contains(err.Error(), "negative") || !strings.Contains(err.Error(), "cache") {
		t.Errorf("%v", err)
	}
}

// benchmarkHandler measures an answer that is not sent anywhere.
func benchmarkHandler(b *testing.B, s *Server, path string) {
	b.Helper()
	handler := s.router()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for b.Loop() {
		w := discard{header: http.Header{}}
		handler.ServeHTTP(&w, r)
		if w.n == 0 {
			b.Fatal("nothing was answered")
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

type discard struct {
	header http.Header
	n      int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(b []byte) (int, error) { d.n += len(b); return len(b), nil }
