package query

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func wrong() bool { return false }
func right() bool { return true }

func TestGuessingIsHeldUpAndWorkIsNot(t *testing.T) {
	t.Parallel()
	g, now := newGuesses(), time.Now()
	for range 1000 {
		if err := g.try("192.0.2.1:1", now, right); err != nil {
			t.Fatal("right ones count")
		}
	}
	for i := range maxGuesses {
		if err := g.try("192.0.2.1:1", now, wrong); err != nil {
			t.Fatalf("guess %d: %v", i+1, err)
		}
	}
	looked := false
	if err := g.try("192.0.2.1:2", now, func() bool { looked = true; return true }); err == nil || looked {
		t.Error("another port of the same machine may go on")
	}
	if err := g.try("192.0.2.2:1", now, right); err != nil {
		t.Error("another machine is held up")
	}
	later := now.Add(guessPause)
	if err := g.try("192.0.2.1:1", later, wrong); err != nil {
		t.Error("held up for longer than said")
	}
	if err := g.try("192.0.2.1:1", later, wrong); err == nil {
		t.Error("a pause brings more than one guess")
	}
}

func TestOneClientsIPv6AddressesAreOne(t *testing.T) {
	t.Parallel()
	for a, b := range map[string]string{"[2001:db8::1]:1": "[2001:db8::ffff:1]:2", "[fe80::1%eth0]:1": "[fe80::2]:1", "192.0.2.1:1": "192.0.2.1:2"} {
		if network(a) != network(b) {
			t.Errorf("%s and %s differ", a, b)
		}
	}
	for a, b := range map[string]string{"[2001:db8:0:1::1]:1": "[2001:db8:0:2::1]:1", "192.0.2.1:1": "192.0.2.2:1", "@": "%"} {
		if network(a) == network(b) {
			t.Errorf("%s and %s are the same", a, b)
		}
	}
}

func TestTooManyWrongTokensAreNotLookedAt(t *testing.T) {
	t.Parallel()
	s := newServer(t, newProjection(t), Options{Tokens: twoTokens})
	cookie := login(t, s, "ann's secret", "").Cookies()[0].String()
	ask := func(header ...string) *http.Response {
		return doFrom(t, s, "192.0.2.7:1", http.MethodGet, "/api/v1/dead-letters", header...)
	}
	var group sync.WaitGroup
	for range 3 * maxGuesses { // as many at once as one likes
		group.Go(func() { ask("Authorization", "Bearer wrong") })
	}
	group.Wait()
	r := ask("Authorization", "Bearer ann's secret")
	if p := mustDecode[problem](t, http.StatusTooManyRequests, r); !strings.Contains(p.Fix, "minute") || r.Header.Get("Retry-After") == "" {
		t.Errorf("%+v, Retry-After %q", p, r.Header.Get("Retry-After"))
	}
	body(t, http.StatusOK, ask("Cookie", cookie)) // who is logged in works on
	body(t, http.StatusOK, get(t, s, "/api/v1/dead-letters", "Authorization", "Bearer ann's secret"))

	// The form counts as well.
	for range maxGuesses {
		loginFrom(t, s, "192.0.2.8:1", "wrong")
	}
	r = loginFrom(t, s, "192.0.2.8:1", "ann's secret")
	body(t, http.StatusTooManyRequests, r)
	if len(r.Cookies()) != 0 {
		t.Error("it gives a cookie all the same")
	}
}
