package query

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
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
	p.mustCreateGeneration(t, "g1", "trial")
	p.mustSwitch(t, "g1")
	p.mustProject(t, mustModel(t, "a"))
	<-done
	testservers.Eventually(t, "the order is seen", func() bool { _, ok := s.cache().get("a"); return ok })
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
	p.mustCreateGeneration(t, "g1", "trial")
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

// A database that went back, to a backup or to a replica that lagged: what came after is not so any more,
// whether its checkpoint has passed the old place again since or not.
func TestRewoundDatabaseIsReadAgain(t *testing.T) {
	t.Parallel()
	const end = 10 // of what was read: messages after the last order are dead letters
	other := mustModel(t, "lost")
	other.Locale = "another"
	for name, now := range map[string]map[int64]orderbox.Order{
		"to before its last order":                {},
		"to before its end":                       {8: mustModel(t, "lost")},
		"and forward with another order":          {12: mustModel(t, "new")},
		"and forward with its order changed":      {8: other, 12: mustModel(t, "new")},
		"and forward with its order moved":        {7: mustModel(t, "lost"), 12: mustModel(t, "new")},
		"and forward, a dead letter now an order": {8: mustModel(t, "lost"), 9: mustModel(t, "new"), 12: mustModel(t, "newer")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProjection(t)
			p.mustWrite(t, "g1", 3, mustModel(t, "kept"))
			p.mustWrite(t, "g1", 8, mustModel(t, "lost"))
			p.mustTx(t, "g1", func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), `update checkpoint set position = $1`, end)
				return err
			})
			s := newServer(t, p, Options{})
			mustReadAll(t, s)
			p.mustTx(t, "g1", func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), `delete from items where position > 3; delete from payments where position > 3;
					delete from deliveries where position > 3; delete from orders where position > 3;
					update checkpoint set position = 3`, pgx.QueryExecModeSimpleProtocol)
				for _, position := range slices.Sorted(maps.Keys(now)) {
					err = errors.Join(err, write(t.Context(), tx, position, now[position]))
				}
				return err
			})
			mustReadAll(t, s)
			p.mustWrite(t, "g1", 20, mustModel(t, "latest"))
			mustReadAll(t, s)
			now[20] = mustModel(t, "latest")
			now[3] = mustModel(t, "kept")
			want := map[string]string{}
			for _, o := range now {
				want[o.OrderUID] = string(o.JSON())
			}
			got := map[string]string{}
			for _, uid := range []string{"kept", "lost", "new", "newer", "latest"} {
				if e, ok := s.cache().get(uid); ok {
					got[uid] = string(e.body)
				}
			}
			if !maps.Equal(got, want) {
				t.Errorf("the cache holds %v, the database %v", got, want)
			}
		})
	}
}

// What was read of the chunk stays, and reading goes on behind it.
func TestChunkThatFailsHalfWayIsGoneOnWith(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	mustInsertMany(t, p, "g1", 1, 100)
	setBrand := func(brand *string) {
		t.Helper()
		p.mustTx(t, "g1", func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), `alter table items alter brand drop not null`)
			if err == nil {
				_, err = tx.Exec(t.Context(), `update items set brand = $1 where position = 3 * 50`, brand)
			}
			return err
		})
	}
	s := newServer(t, p, Options{})
	setBrand(nil)
	if _, err := s.follower.read(t.Context()); err == nil {
		t.Fatal("an item without a brand was read")
	}
	begun := s.cache()
	if orders, _ := begun.size(); orders == 0 || orders >= 50 {
		t.Fatalf("%d orders were read of the chunk", orders)
	}
	brand := "mended"
	setBrand(&brand)
	mustReadAll(t, s)
	if orders, _ := begun.size(); s.cache() != begun || orders != 100 {
		t.Errorf("%d orders", orders)
	}
}

func TestBootReadsChunkAfterChunk(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	const chunk = partPositions // in several parts, with three positions to an order
	mustInsertMany(t, p, "g1", 1, 2*chunk)
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

// mustInsertMany writes orders from to to into a generation, with one to five items, at every third position.
// Each row names the generation.
func mustInsertMany(tb testing.TB, p *projection, generation string, from, to int) {
	tb.Helper()
	p.mustTx(tb, generation, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(`insert into orders select 3 * i, lpad(i::text, 16, '0'), '', 'WBILMTESTTRACK', 'WBIL', 'en', '', $3, 'meest',
			'9', 99, '2021-11-26T06:22:19Z', '2021-11-26T06:22:19Z', '1' from generate_series($1::bigint, $2) as i`, from, to, generation)
		batch.Queue(`insert into deliveries select 3 * i, 'name ' || i, '+9720000000', '2639809', 'Kiryat Mozkin',
			'Ploshad Mira 15', $3, 'test@gmail.com' from generate_series($1::bigint, $2) as i`, from, to, generation)
		batch.Queue(`insert into payments select 3 * i, 'b563feb7b2b84b6test', '', 'USD', 'wbpay', i, 1637907727, $3, 1500, 317, 0
			from generate_series($1::bigint, $2) as i`, from, to, generation)
		batch.Queue(`insert into items select 3 * i, line, line, 'WBILMTESTTRACK', 453, 'ab4219087a764ae0btest', 'Mascaras', 30, '0', 317,
			2389212, $3, 202 from generate_series($1::bigint, $2) as i, lateral generate_series(1, 1 + i % 5) as line`, from, to, generation)
		batch.Queue(`update checkpoint set position = $1, orders = $2`, 3*to+1, to)
		return tx.SendBatch(tb.Context(), batch).Close()
	})
}

// Filling the cache at boot, with three items an order.
func BenchmarkBoot(b *testing.B) {
	const orders = 50_000
	p := newProjection(b)
	mustInsertMany(b, p, "g1", 1, orders)
	for b.Loop() {
		s := newServer(b, p, Options{})
		mustReadAll(b, s)
		if got, _ := s.cache().size(); got != orders {
			b.Fatalf("%d orders", got)
		}
	}
	b.ReportMetric(float64(orders*b.N)/b.Elapsed().Seconds(), "orders/s")
}
