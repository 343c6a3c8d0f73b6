package query

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"orderbox"
	"orderbox/internal/testservers"
)

// subscriber reads the events.
type subscriber struct {
	testing.TB
	lines *bufio.Scanner
	body  io.Closer
}

func mustSubscribe(tb testing.TB, address string) *subscriber {
	tb.Helper()
	r, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://"+address+"/api/v1/events", nil)
	if err != nil {
		tb.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { answer.Body.Close() })
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" {
		tb.Fatalf("%d, %v", answer.StatusCode, answer.Header)
	}
	return &subscriber{tb, bufio.NewScanner(answer.Body), answer.Body}
}

// await reads on to the first event of a kind that is as it should be; false at the end.
func await[T any](s *subscriber, kind string, fits func(T) bool) bool {
	s.Helper()
	named := false
	for s.lines.Scan() {
		data, ok := strings.CutPrefix(s.lines.Text(), "data: ")
		if !ok {
			named = s.lines.Text() == "event: "+kind
			continue
		}
		var v T
		if err := json.Unmarshal([]byte(data), &v); named && err != nil {
			s.Fatalf("%v in %s", err, data)
		}
		if named && fits(v) {
			return true
		}
	}
	return false
}

func TestEventsTellOfOrdersAndOfTheBalance(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustProject(t, mustModel(t, "first"))
	var received atomic.Int64
	s := newRunning(t, p, Options{Stats: func(context.Context) (Stats, error) {
		if n := received.Add(1); n != 2 {
			return Stats{Received: n}, nil
		}
		return Stats{}, io.ErrUnexpectedEOF
	}})
	sub := mustSubscribe(t, mustListen(t, s)) // whose timeouts are shorter than this takes
	if !await(sub, "orders", func(n ordersNews) bool { return n.Count == 1 && n.Latest[0].OrderUID == "first" }) {
		t.Fatal("what there is when one subscribes is not told")
	}
	p.mustProject(t, mustModel(t, "second"))
	p.mustNotify(t)
	want := orderNews{OrderUID: "second", Position: 2, DateCreated: "2021-11-26T06:22:19Z", Items: 1, Amount: 1817, Currency: "USD"}
	if !await(sub, "orders", func(n ordersNews) bool { return n.Count == 2 && n.Latest[0] == want && len(n.Latest) == 2 }) {
		t.Fatal("a new order is not told")
	}
	for what, fits := range map[string]func(statsNews) bool{
		"that nothing is known is not told": func(n statsNews) bool { return n.Stats == nil && n.Rates == nil },
		"the balance is not told":           func(n statsNews) bool { return n.Stats != nil && n.Rates == nil },
		"the rates are not told":            func(n statsNews) bool { return n.Rates != nil && n.Rates.Received > 0 },
	} {
		received.Store(1)
		if !await(sub, "stats", fits) {
			t.Error(what)
		}
	}
}

// The event has what the home page lists, which anybody may see, and nothing of the customer.
func TestEventsHaveNothingPersonal(t *testing.T) {
	t.Parallel()
	s := newRunning(t, newProjection(t), Options{})
	o := mustModel(t, "a")
	o.Delivery = orderbox.Delivery{Name: "secret", Phone: "secret", Zip: "secret", City: "secret", Address: "secret", Region: "secret", Email: "secret"}
	o.CustomerID, o.Payment.Transaction, o.TrackNumber = "secret", "secret", "secret"
	s.cache().add(1, "a", o.JSON())
	s.feed.join()
	defer s.feed.leave()
	if err := s.ordersNews()(t.Context()); err != nil {
		t.Fatal(err)
	}
	events, _ := s.feed.news(new([feedKinds]uint64))
	if len(events) != 1 || strings.Contains(string(events[0]), "secret") || !strings.Contains(string(events[0]), `"order_uid":"a"`) {
		t.Errorf("%s", events)
	}
}

func TestEventsEndWithTheStage(t *testing.T) {
	t.Parallel()
	s := newServer(t, newProjection(t), Options{})
	server := httptest.NewServer(s.router())
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	sub := mustSubscribe(t, server.Listener.Addr().String())
	if !await(sub, "orders", func(n ordersNews) bool { return n.Count == 0 }) {
		t.Fatal("nothing is told")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if await(sub, "orders", func(ordersNews) bool { return true }) {
		t.Error("more is told")
	}
	if err := server.Config.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	const none = `orderbox_http_request_duration_seconds_count{code="200",route="/api/v1/events"} 0`
	if !strings.Contains(string(body(t, http.StatusOK, get(t, s, "/metrics"))), none) {
		t.Error("how long somebody followed is measured as a time to answer")
	}
}

func TestSubscribersAreBounded(t *testing.T) {
	t.Parallel()
	s := newRunning(t, newProjection(t), Options{})
	mustSubscribe(t, mustListen(t, s))
	for range maxSubscribers - 1 {
		s.feed.join()
	}
	r := get(t, s, "/api/v1/events")
	body(t, http.StatusServiceUnavailable, r)
	if r.Header.Get("Retry-After") == "" {
		t.Error("nobody is told to come again")
	}
	s.feed.leave()
	body(t, http.StatusOK, get(t, s, "/api/v1/events"))
}

func TestSlowSubscriberIsDroppedAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	s := newRunning(t, newProjection(t), Options{})
	address := mustListen(t, s)
	fast := mustSubscribe(t, address)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /api/v1/events HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	subscribers := func() int {
		s.feed.mu.Lock()
		defer s.feed.mu.Unlock()
		return s.feed.subscribers
	}
	testservers.Eventually(t, "both follow", func() bool { return subscribers() == 2 })
	large := strings.Repeat("x", 16<<20) // beyond what the system keeps for a reader
	fast.lines.Buffer(nil, 2*len(large))
	for number := range uint64(3) {
		s.feed.tell(feedStats, 1+number, large)
		if !await(fast, "stats", func(text string) bool { return text == large }) {
			t.Fatal("the fast one waits for the slow one")
		}
	}
	testservers.Eventually(t, "the slow one is dropped", func() bool { return subscribers() == 1 })
}
