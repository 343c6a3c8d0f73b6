package query

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"orderbox/internal/testservers"

	"github.com/jackc/pgx/v5"

	"orderbox"
)

func TestNewOrderIsSeenByNotification(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newRunning(t, p, Options{Poll: time.Hour})
	for i := range 3 {
		uid := fmt.Sprint("order ", i)
		p.mustProject(t, mustModel(t, uid))
		p.mustNotify(t)
		testservers.Eventually(t, uid+" is seen", func() bool { _, ok := s.cache().get(uid); return ok })
	}
}

func TestNewOrderIsSeenByPollingAlone(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newRunning(t, p, Options{})
	for i := range 3 {
		uid := fmt.Sprint("order ", i)
		p.mustProject(t, mustModel(t, uid))
		testservers.Eventually(t, uid+" is seen", func() bool { _, ok := s.cache().get(uid); return ok })
	}
}

func TestReaderRoleIsEnough(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustProject(t, mustModel(t, "a"))
	id := p.mustRefuse(t, []byte("x"), "syntax", "[]", nil)
	s, err := New(testservers.Open(t, p.ReaderURL, 4), Options{Tokens: []Token{{"ann", "t"}}, Poll: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, s)
	body(t, http.StatusOK, get(t, s, "/api/v1/orders/a"))
	body(t, http.StatusOK, get(t, s, fmt.Sprintf("/api/v1/dead-letters/%d/payload", id), "Authorization", "Bearer t"))
}

// The cache has read a checkpoint though the messages before it were no orders.
func TestPositionReachesTheCheckpoint(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newRunning(t, p, Options{})
	p.mustProject(t, mustModel(t, "a"))
	last := p.mustRefuse(t, []byte("x"), "syntax", "[]", nil)
	testservers.Eventually(t, "the checkpoint is reached", func() bool { return s.cache().position.Load() == last })
	p.mustProject(t, mustModel(t, "b"))
	testservers.Eventually(t, "the order after it is seen", func() bool { _, ok := s.cache().get("b"); return ok })
}

func TestFirstProjectorMayComeLater(t *testing.T) {
	t.Parallel()
	p := newEmptyDatabase(t)
	s := newServer(t, p, Options{})
	done := make(chan struct{})
	go func() { defer close(done); mustRun(t, s) }()
	p.mustCreateGeneration(t, "g1")
	p.mustSwitch(t, "g1")
	p.mustProject(t, mustModel(t, "a"))
	<-done
	testservers.Eventually(t, "the order is seen", func() bool { _, ok := s.cache().get("a"); return ok })
}

// Another generation is filled beside the one in service. At no moment is an order unknown that is in both.
func TestGenerationSwitchLosesNoOrder(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	const orders = 300
	mustInsertMany(t, p, "g1", orders)
	s := newServer(t, p, Options{})
	s.follower.chunk = 7 // so that filling takes a while
	mustRun(t, s)
	old := s.cache()

	p.mustCreateGeneration(t, "g2")
	mustInsertMany(t, p, "g2", orders)
	p.mustWrite(t, "g2", 1_000_000, mustModel(t, "only in g2"))

	ctx, stop := context.WithCancel(t.Context())
	var asked, missed atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := s.lookup(fmt.Sprintf("%016d", i%orders+1)); err != nil {
				missed.Add(1)
			}
			asked.Add(1)
			runtime.Gosched() // to the follower
		}
	}()
	p.mustSwitch(t, "g2")
	p.mustNotify(t)
	testservers.Eventually(t, "the new generation is in service", func() bool { _, ok := s.cache().get("only in g2"); return ok })
	stop()
	<-done
	if asked.Load() == 0 || missed.Load() > 0 {
		t.Errorf("%d of %d lookups missed an order that was there all the time", missed.Load(), asked.Load())
	}
	if s.cache() == old || s.cache().generation.name != "g2" {
		t.Error("the old generation is still in service")
	}
}

// The same name does not make the same generation.
func TestGenerationBuiltAgainIsReadAgain(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustProject(t, mustModel(t, "before"))
	s := newRunning(t, p, Options{})
	p.mustTx(t, "g1", func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `delete from generations; drop schema g1 cascade`)
		return err
	})
	p.mustCreateGeneration(t, "g1")
	position := p.mustReceive(t, []byte{})
	p.mustWrite(t, "g1", position, mustModel(t, "after"))
	if _, ok := s.cache().get("before"); !ok {
		t.Error("the order is gone while there is no generation")
	}
	p.mustSwitch(t, "g1")
	testservers.Eventually(t, "the new one is in service", func() bool { _, ok := s.cache().get("after"); return ok })
	if _, ok := s.cache().get("before"); ok {
		t.Error("an order of the old one is still there")
	}
}

// A database that was set back to a backup: what came after it is not so any more.
func TestRewoundDatabaseIsReadAgain(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustProject(t, mustModel(t, "kept"))
	lost := p.mustProject(t, mustModel(t, "lost"))
	s := newRunning(t, p, Options{})
	p.mustTx(t, "g1", func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `truncate orders, deliveries, payments, items, duplicates, dead_letters, dead_letter_places`)
		return err
	})
	p.mustWrite(t, "g1", lost-1, mustModel(t, "kept"))
	testservers.Eventually(t, "the lost order is gone", func() bool { _, ok := s.cache().get("lost"); return !ok })
	if _, err := s.lookup("kept"); err != nil {
		t.Error(err)
	}
}

func TestBootReadsChunkAfterChunk(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	const chunk = 50
	mustInsertMany(t, p, "g1", 2*chunk)
	s := newServer(t, p, Options{})
	s.follower.chunk = chunk
	mustRun(t, s)
	if orders, _ := s.cache().size(); orders != 2*chunk {
		t.Errorf("%d orders", orders)
	}
	for i := 1; i <= 2*chunk; i++ {
		o := mustDecode[orderbox.Order](t, http.StatusOK, get(t, s, fmt.Sprintf("/api/v1/orders/%016d", i)))
		if len(o.Items) != 1+i%5 || o.Items[len(o.Items)-1].ChrtID != int64(len(o.Items)) || o.Delivery.Name != fmt.Sprint("name ", i) ||
			o.Payment.Amount != int64(i) {
			t.Errorf("order %d is %s", i, o.JSON())
		}
	}
}

// mustInsertMany writes orders 1 to n into a generation, with one to five items, at every third position.
func mustInsertMany(tb testing.TB, p *projection, generation string, n int) {
	tb.Helper()
	p.mustTx(tb, generation, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(`insert into orders select 3 * i, lpad(i::text, 16, '0'), '', 'WBILMTESTTRACK', 'WBIL', 'en', '', 'test', 'meest',
			'9', 99, '2021-11-26T06:22:19Z', '2021-11-26T06:22:19Z', '1' from generate_series(1, $1) as i`, n)
		batch.Queue(`insert into deliveries select 3 * i, 'name ' || i, '+9720000000', '2639809', 'Kiryat Mozkin',
			'Ploshad Mira 15', 'Kraiot', 'test@gmail.com' from generate_series(1, $1) as i`, n)
		batch.Queue(`insert into payments select 3 * i, 'b563feb7b2b84b6test', '', 'USD', 'wbpay', i, 1637907727, 'alpha', 1500, 317, 0
			from generate_series(1, $1) as i`, n)
		batch.Queue(`insert into items select 3 * i, line, line, 'WBILMTESTTRACK', 453, 'ab4219087a764ae0btest', 'Mascaras', 30, '0', 317,
			2389212, 'Vivienne Sabo', 202 from generate_series(1, $1) as i, lateral generate_series(1, 1 + i % 5) as line`, n)
		batch.Queue(`update checkpoint set position = $1, orders = $2`, 3*n+1, n)
		return tx.SendBatch(tb.Context(), batch).Close()
	})
}

// Filling the cache at boot, with three items an order. One core bounds it, for the database and the stage
// take turns: a chunk is asked for when the one before is in the cache.
func BenchmarkBoot(b *testing.B) {
	const orders = 50_000
	p := newProjection(b)
	mustInsertMany(b, p, "g1", orders)
	for b.Loop() {
		s := newServer(b, p, Options{})
		for more := true; more; {
			var err error
			if more, err = s.follower.read(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		if got, _ := s.cache().size(); got != orders {
			b.Fatalf("%d orders", got)
		}
	}
	b.ReportMetric(float64(orders*b.N)/b.Elapsed().Seconds(), "orders/s")
}
