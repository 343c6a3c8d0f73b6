package query

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderbox/internal/testservers"
)

// uidOfMany is the id of an order that mustInsertMany writes.
func uidOfMany(i int) string { return fmt.Sprintf("%016d", i) }

// mustHaveNoPlaceTaken checks that who fetched something gave the places back.
func mustHaveNoPlaceTaken(t *testing.T, s *Server) {
	t.Helper()
	if !s.fetcher.answers.TryAcquire(maxFetched) || !s.fetcher.asking.TryAcquire(maxFetches) || s.fetcher.waiting.Load() != 0 {
		t.Error("a place is still taken by what was answered")
	}
}

// A limit leaves out nine of ten orders, and nobody sees a difference: each order, each list and each page are what they are
// without a limit, while more orders come and many ask at a time. Run with -race.
func TestLimitedCacheAnswersAllThatAnUnlimitedOneDoes(t *testing.T) {
	t.Parallel()
	const orders, more = 3000, 300
	p := newProjection(t)
	mustInsertMany(t, p, "g1", 1, orders)
	all := newRunning(t, p, Options{})
	limited := newRunning(t, p, Options{CacheBytes: int64(len(bodiesOf(t, all))) / 10})
	if held, _ := limited.cache().size(); held > orders/10 || held < orders/20 {
		t.Fatalf("%d orders are held", held)
	}
	both := beside{all.router(), limited.router()}
	var group sync.WaitGroup
	group.Go(func() {
		for i := orders + 1; i <= orders+more; i += 10 {
			mustInsertMany(t, p, "g1", i, i+9)
			p.mustNotify(t)
		}
	})
	var next atomic.Int64
	for range 6 {
		group.Go(func() {
			for i := int(next.Add(1)); i <= orders; i = int(next.Add(1)) {
				both.mustBeTheSame(t, "/api/v1/orders/"+uidOfMany(i))
				if i%100 == 0 {
					both.mustBeTheSame(t, fmt.Sprintf("/api/v1/orders?limit=%d&after=%d", 1+i/40, 3*i))
					both.mustBeTheSame(t, "/orders/"+uidOfMany(i))
					both.mustBeTheSame(t, "/orders?order_uid=%20"+uidOfMany(i))
				}
			}
		})
	}
	group.Wait()
	for _, s := range []*Server{all, limited} {
		testservers.Eventually(t, "all are there", func() bool { return s.cache().total() == orders+more })
	}
	for i := orders + 1; i <= orders+more; i++ {
		both.mustBeTheSame(t, "/api/v1/orders/"+uidOfMany(i))
	}
	for _, path := range []string{"/", "/api/v1/orders", "/orders?order_uid=WBILMTESTTRACK", "/orders?order_uid=nobodys"} {
		both.mustBeTheSame(t, path)
	}
	if !bytes.Equal(bodiesOf(t, all), bodiesOf(t, limited)) {
		t.Error("the lists differ")
	}
	for _, id := range []string{"unknown", strings.Repeat("x", 65), "%ff"} {
		both.mustBeTheSame(t, "/api/v1/orders/"+id)
	}
	oldest := "/api/v1/orders/" + uidOfMany(1)
	etag := get(t, limited, oldest).Header.Get("Etag")
	body(t, http.StatusNotModified, get(t, limited, oldest, "If-None-Match", etag))
	if n := len(body(t, http.StatusOK, do(t, limited, http.MethodHead, oldest))); n > 0 && etag == "" {
		t.Errorf("a HEAD is answered with %d bytes", n)
	}
	if held, _ := limited.cache().size(); held > orders/8 {
		t.Errorf("%d orders are held", held)
	}
	mustHaveNoPlaceTaken(t, limited)
}

// beside asks two stages for the same; the contract is kept by what other tests ask.
type beside struct{ a, b http.Handler }

func (s beside) mustBeTheSame(t *testing.T, path string) {
	t.Helper()
	want, got := httptest.NewRecorder(), httptest.NewRecorder()
	s.a.ServeHTTP(want, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	s.b.ServeHTTP(got, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	if got.Code != want.Code || got.Header().Get("Etag") != want.Header().Get("Etag") || got.Header().Get("Location") != want.Header().Get("Location") ||
		!bytes.Equal(got.Body.Bytes(), want.Body.Bytes()) {
		t.Errorf("%s: status %d, and without a limit %d, or other bytes", path, got.Code, want.Code)
	}
}

// bodiesOf are all orders of a stage, from its lists.
func bodiesOf(t *testing.T, s *Server) []byte {
	t.Helper()
	var all bytes.Buffer
	for after := ""; ; {
		list := mustDecode[orderList](t, http.StatusOK, get(t, s, "/api/v1/orders?limit=100"+after))
		for _, o := range list.Orders {
			all.Write(o)
		}
		if list.Next == nil {
			return all.Bytes()
		}
		after = "&after=" + *list.Next
	}
}

// Without the database nobody knows whether an order exists that is not in memory.
func TestLimitedCacheNeverSaysUnknownWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	mustInsertMany(t, p, "g1", 1, 500)
	s := newRunning(t, p, Options{CacheBytes: 50_000})
	old, older, newest := "/api/v1/orders/"+uidOfMany(1), "/api/v1/orders/"+uidOfMany(2), "/api/v1/orders/"+uidOfMany(500)
	body(t, http.StatusOK, get(t, s, old))
	admin := testservers.Open(t, p.AdminURL, 1)

	mustAllowConnections(t, admin.Config().ConnConfig, false)
	for _, path := range []string{newest, old, "/api/v1/orders", "/", "/orders/" + uidOfMany(500)} { // the second was fetched before
		body(t, http.StatusOK, get(t, s, path))
	}
	for _, path := range []string{older, "/api/v1/orders/unknown", "/api/v1/orders?after=300", "/api/v1/orders/" + strings.Repeat("x", 65)} {
		r := get(t, s, path)
		if said := mustDecode[problem](t, http.StatusServiceUnavailable, r); said.Detail != "This is not in memory, and the database did not answer in time." ||
			r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %+v", path, said)
		}
	}
	mustShow(t, s, http.StatusServiceUnavailable, "/orders/"+uidOfMany(2))

	mustAllowConnections(t, admin.Config().ConnConfig, true)
	testservers.Eventually(t, "it is fetched again", func() bool { return get(t, s, older).StatusCode == http.StatusOK })
	body(t, http.StatusNotFound, get(t, s, "/api/v1/orders/unknown"))
	mustHaveNoPlaceTaken(t, s)
}

// Hundreds ask for what is not in memory while the database is held up: few of them reach it, the others are told so, and who
// asks for what is in memory notices nothing.
func TestFloodOfUnknownIDsReachesTheDatabaseInSmallNumbers(t *testing.T) {
	t.Parallel()
	p, s := mustLimit(t)
	const askers = 300
	var crowded, away atomic.Int64
	p.mustTx(t, "g1", func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `lock table orders`); err != nil {
			return err
		}
		var group sync.WaitGroup
		for i := range askers {
			group.Go(func() {
				switch said := mustDecode[problem](t, http.StatusServiceUnavailable, get(t, s, fmt.Sprint("/api/v1/orders/unknown", i))); {
				case strings.Contains(said.Detail, "too many"):
					crowded.Add(1)
				case strings.Contains(said.Detail, "did not answer"):
					away.Add(1)
				default:
					t.Errorf("%+v", said)
				}
			})
		}
		testservers.Eventually(t, "as many ask as may", func() bool { return mustCountWaiting(t, p) == maxFetches })
		for range 100 {
			body(t, http.StatusOK, get(t, s, "/api/v1/orders/"+uidOfMany(500-rand.IntN(10))))
		}
		if n := mustCountWaiting(t, p); n > maxFetches {
			t.Errorf("%d ask the database", n)
		}
		group.Wait()
		return nil
	})
	if crowded.Load() == 0 || away.Load() == 0 || crowded.Load()+away.Load() != askers {
		t.Errorf("%d were too many, %d were not answered", crowded.Load(), away.Load())
	}
	body(t, http.StatusOK, get(t, s, "/api/v1/orders/"+uidOfMany(1)))
	mustHaveNoPlaceTaken(t, s)
}

// mustLimit returns 500 orders, and a server that holds the newest of them in memory.
func mustLimit(t *testing.T) (*projection, *Server) {
	t.Helper()
	p := newProjection(t)
	mustInsertMany(t, p, "g1", 1, 500)
	s, err := New(testservers.Open(t, p.ServiceURL, 16), Options{CacheBytes: 50_000})
	if err != nil {
		t.Fatal(err)
	}
	mustReadAll(t, s)
	return p, s
}

// mustCountWaiting counts who waits for a lock of the database.
func mustCountWaiting(t *testing.T, p *projection) (n int) {
	t.Helper()
	err := p.pool.QueryRow(t.Context(), `select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Who asks for the same order at a time is answered by one question.
func TestThoseWhoWantTheSameOrderShareAQuestion(t *testing.T) {
	t.Parallel()
	p, s := mustLimit(t)
	const askers = 50
	var group sync.WaitGroup
	p.mustTx(t, "g1", func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `lock table orders`); err != nil {
			return err
		}
		for range askers {
			group.Go(func() { body(t, http.StatusOK, get(t, s, "/api/v1/orders/"+uidOfMany(1))) })
		}
		testservers.Eventually(t, "all wait", func() bool { return s.fetcher.waiting.Load() == askers })
		testservers.Eventually(t, "one asks", func() bool { return mustCountWaiting(t, p) > 0 })
		if n := mustCountWaiting(t, p); n != 1 {
			t.Errorf("%d ask", n)
		}
		return nil
	})
	group.Wait()
	body(t, http.StatusOK, get(t, s, "/api/v1/orders/"+uidOfMany(1)))
	if s.fetcher.found.Load() != askers || s.fetcher.kept.Load() != 1 {
		t.Errorf("%d were found, %d kept", s.fetcher.found.Load(), s.fetcher.kept.Load())
	}
	mustHaveNoPlaceTaken(t, s)
}

// What was fetched of a generation, or of a database that then went back, is answered no more.
func TestWhatWasFetchedGoesWithItsCache(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	mustInsertMany(t, p, "g1", 1, 500)
	s := newServer(t, p, Options{CacheBytes: 50_000})
	mustReadAll(t, s)
	oldest := "/api/v1/orders/" + uidOfMany(1)
	for range 2 {
		if g := generationOf(t, body(t, http.StatusOK, get(t, s, oldest))); g != "g1" {
			t.Errorf("%s answers", g)
		}
	}
	if s.fetcher.found.Load() != 1 || s.fetcher.kept.Load() != 1 {
		t.Errorf("%d were found, %d kept", s.fetcher.found.Load(), s.fetcher.kept.Load())
	}
	p.mustCreateGeneration(t, "g2", stateBuilding)
	mustInsertMany(t, p, "g2", 1, 500)
	mustReadAll(t, s)
	p.mustSwitch(t, "g2")
	// Asked for in the meantime, an order of the new generation is not kept for the old one.
	body(t, http.StatusOK, get(t, s, "/api/v1/orders/"+uidOfMany(2)))
	if _, kept := s.cache().fetched.GetIfPresent(uidOfMany(2)); kept {
		t.Error("an order of another generation is kept")
	}
	mustReadAll(t, s)
	if g := generationOf(t, body(t, http.StatusOK, get(t, s, oldest))); g != "g2" {
		t.Errorf("%s answers", g)
	}

	p.mustTx(t, "g2", func(tx pgx.Tx) error { // as if restored from a time when it was named otherwise
		_, err := tx.Exec(t.Context(), `update deliveries set region = 'restored'; update items set brand = 'restored'; update orders set digest = 'other';
			update payments set bank = 'restored'; update orders set internal_signature = internal_signature`, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	mustReadAll(t, s)
	if got := body(t, http.StatusOK, get(t, s, oldest)); !bytes.Contains(got, []byte(`"region":"restored"`)) {
		t.Errorf("after the database went back: %s", got)
	}
	mustHaveNoPlaceTaken(t, s)
}

// A client that goes away while it waits takes no answer from others who wait for the same.
func TestClientThatGoesTakesNobodysAnswer(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	mustInsertMany(t, p, "g1", 1, 500)
	s := newServer(t, p, Options{CacheBytes: 50_000})
	mustReadAll(t, s)
	var group sync.WaitGroup
	p.mustTx(t, "g1", func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `lock table orders`); err != nil {
			return err
		}
		ctx, leave := context.WithCancel(t.Context())
		group.Go(func() { s.lookupForPage(ctx, uidOfMany(1)) })
		testservers.Eventually(t, "it asks", func() bool { return mustCountWaiting(t, p) == 1 })
		group.Go(func() { body(t, http.StatusOK, get(t, s, "/api/v1/orders/"+uidOfMany(1))) })
		testservers.Eventually(t, "another waits", func() bool { return s.fetcher.waiting.Load() == 2 })
		leave()
		return nil
	})
	group.Wait()
	mustHaveNoPlaceTaken(t, s)
}

// What a lookup costs that the database is asked for: five turns to it and back.
func BenchmarkFetch(b *testing.B) {
	const orders = 10_000
	p := newProjection(b)
	mustInsertMany(b, p, "g1", 1, orders)
	s := newServer(b, p, Options{CacheBytes: 1}) // nothing that was fetched is kept
	mustReadAll(b, s)
	for b.Loop() {
		if _, err := s.lookupForPage(b.Context(), uidOfMany(1+rand.IntN(orders/2))); err != nil {
			b.Fatal(err)
		}
	}
	if s.fetcher.kept.Load() > 0 {
		b.Error("what was fetched is kept")
	}
}
