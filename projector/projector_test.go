package projector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/inbox"
	"orderbox/internal/testservers"
	"orderbox/publisher"
)

func TestMain(m *testing.M) { testservers.Main(m) }

// house is a database with a log, for a test to fill and to project.
type house struct {
	testservers.DB
	pool, admin *pgxpool.Pool
	box         *inbox.Inbox
	sequence    int64
	log         testservers.Buffer // what all its projectors log
}

func newHouse(tb testing.TB) *house {
	tb.Helper()
	h := &house{DB: testservers.Database(tb)}
	h.pool, h.admin = testservers.Open(tb, h.ServiceURL, 8), testservers.Open(tb, h.AdminURL, 2)
	h.box = inbox.New(h.pool, nil)
	return h
}

// receive appends payloads to the log.
func (h *house) receive(tb testing.TB, payloads ...[]byte) {
	tb.Helper()
	var batch []inbox.Message
	for _, p := range payloads {
		h.sequence++
		batch = append(batch, inbox.Message{Source: inbox.SourceSTAN, Channel: "orders", Sequence: h.sequence,
			StampedAt: time.Unix(h.sequence, 0), Payload: p})
	}
	if _, err := h.box.Append(tb.Context(), batch); err != nil {
		tb.Fatal(err)
	}
}

// newProjector is one that does not run.
func (h *house) newProjector(tb testing.TB, batch int) *Projector {
	tb.Helper()
	log := slog.New(slog.NewTextHandler(io.MultiWriter(tb.Output(), &h.log), nil))
	p, err := New(h.pool, h.box, Options{Batch: batch, Poll: 50 * time.Millisecond, Log: log})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// open returns the generation in service as p projects into it, over a connection of its own.
func (h *house) open(tb testing.TB, p *Projector) *projection {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), h.ServiceURL)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close(context.Background()) })
	x, err := p.openCurrent(tb.Context(), conn)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

// start runs a projector until the test ends or stop is called.
func (h *house) start(tb testing.TB, batch int) (stop func()) {
	tb.Helper()
	return h.run(tb, h.newProjector(tb, batch))
}

func (h *house) run(tb testing.TB, p *Projector) (stop func()) {
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); err != nil {
			tb.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	tb.Cleanup(stop)
	return stop
}

// await polls until the generation in service has decided the whole log.
func (h *house) await(tb testing.TB) {
	tb.Helper()
	const behindSQL = `
		select coalesce((select max(position) from inbox), 0) - position
		from checkpoint`
	testservers.Eventually(tb, "the projection catches up", func() bool {
		return h.view(tb, behindSQL) == "0"
	})
}

// view returns the rows that a query finds in the generation in service, a line each; nothing while there
// is no generation.
func (h *house) view(tb testing.TB, query string) (lines string) {
	tb.Helper()
	return h.viewOf(tb, "current", query)
}

// viewOf is view of the generation that has a name, or is in a state.
func (h *house) viewOf(tb testing.TB, which, query string) (lines string) {
	tb.Helper()
	const enterSQL = `
		select set_config('search_path', name || ',public', true)
		from generations
		where $1 in (name, state)
			and to_regnamespace(name) is not null`
	err := pgx.BeginFunc(tb.Context(), h.admin, func(tx pgx.Tx) error {
		var path string
		if err := tx.QueryRow(tb.Context(), enterSQL, which).Scan(&path); err == pgx.ErrNoRows {
			return nil
		} else if err != nil {
			return err
		}
		rows, err := tx.Query(tb.Context(), query, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
			values, err := row.Values()
			return strings.TrimSuffix(fmt.Sprintln(values...), "\n"), err
		})
		lines = strings.Join(all, "\n")
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return lines
}

// everything is every row right of the log, in a form to compare.
func (h *house) everything(tb testing.TB) string {
	tb.Helper()
	return h.everythingOf(tb, "current")
}

func (h *house) everythingOf(tb testing.TB, which string) string {
	tb.Helper()
	var all strings.Builder
	for _, table := range []string{"reasons", "checkpoint", "orders", "deliveries", "payments", "items", "duplicates", "dead_letters", "dead_letter_places",
		"(select c from dead_letter_counts as c where letters <> 0)"} {
		fmt.Fprintln(&all, table, h.viewOf(tb, which, `select md5(string_agg(t::text, '|' order by t::text)), count(1) from `+table+` as t`))
	}
	return all.String()
}

const verdictsSQL = `
	select coalesce(d.reason, case when o.position is not null then 'order' when u.position is not null then 'duplicate' else 'none' end)
	from inbox as i
	left join orders as o on o.position = i.position
	left join duplicates as u on u.position = i.position
	left join dead_letters as d on d.position = i.position
	order by i.position`

func TestOneMessageOneVerdict(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var want []string
	var payloads [][]byte
	for m := range publisher.Messages(7, 3000, 0.3) {
		payloads, want = append(payloads, m.Payload), append(want, m.Verdict)
	}
	for chunk := range slices.Chunk(payloads, 700) {
		h.receive(t, chunk...)
	}
	h.start(t, 250)
	h.await(t)
	got := strings.Split(h.view(t, verdictsSQL), "\n")
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("message %d is %s, want %s", i+1, got[i], want[i])
		}
	}
	totals := h.view(t, `select orders + duplicates + dead_letters = (select count(1) from inbox), orders = (select count(1) from orders) from checkpoint`)
	if totals != "true true" {
		t.Errorf("the checkpoint's totals do not add up: %s", totals)
	}
}

func TestTheSameLogGivesTheSameRows(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for m := range publisher.Messages(8, 800, 0.4) {
		h.receive(t, m.Payload)
	}
	stop := h.start(t, 100)
	h.await(t)
	stop()
	before := h.everything(t)
	if _, err := h.admin.Exec(t.Context(), `drop schema generation_1 cascade`); err != nil {
		t.Fatal(err)
	}
	h.start(t, 333) // how the log is cut into batches does not matter
	h.await(t)
	if after := h.everything(t); after != before {
		t.Errorf("before:\n%s\nafter everything right of the log was dropped:\n%s", before, after)
	}
}

func TestOneBadMessageDelaysNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.receive(t, mustModelFile(t))
	stop := h.start(t, 500)
	h.await(t)
	stop()
	// No message passes the schema and is refused by the database, so the database is made stricter.
	if _, err := h.admin.Exec(t.Context(), `alter table generation_1.items add constraint strict check (price <> 666)`); err != nil {
		t.Fatal(err)
	}
	var payloads [][]byte
	guilty := 0
	for m := range publisher.Messages(9, 400, 0) {
		if len(payloads)%97 == 0 {
			guilty++
			order := mustModel(t)
			order["order_uid"] = fmt.Sprint("guilty", guilty)
			order["items"].([]any)[0].(map[string]any)["price"] = 666
			payloads = append(payloads, mustJSON(t, order))
		}
		payloads = append(payloads, m.Payload)
	}
	h.receive(t, payloads...)
	h.start(t, 500)
	h.await(t)
	got := h.view(t, `select reason, count(1), min(sentence) from dead_letters group by reason`)
	if want := fmt.Sprintf("refused %d The database refused the order (SQLSTATE 23514).", guilty); got != want {
		t.Errorf("the dead letters are %q, want %q", got, want)
	}
	if got := h.view(t, `select count(1) from orders`); got != "401" {
		t.Errorf("%s orders, want all the others", got)
	}
}

// What a dead letter says of a message must itself be something that the database takes.
func TestEveryRefusalCanBeStored(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.receive(t, []byte(`{"\u0000":1,"\u0000":2}`), []byte(`{"a\u0000b":{"c":nope}}`),
		[]byte(`{"`+strings.Repeat("Ю", 300_000)+`":[}`), []byte("{\"\xff\xfe\":1}"), []byte(`{"\ud800":1}`), mustModelFile(t))
	h.start(t, 100)
	h.await(t)
	if got := h.view(t, `select orders, duplicates, dead_letters from checkpoint`); got != "1 0 5" {
		t.Errorf("orders, duplicates and dead letters are %s, want 1 0 5", got)
	}
	if got := h.view(t, `select max(length(violations::text)) < 1000 from dead_letters`); got != "true" {
		t.Error("a dead letter is as long as its message")
	}
}

func TestWhatIsWrongWithTheWorldIsNoDeadLetter(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	stop := h.start(t, 20)
	h.await(t)
	stop()
	// Somebody holds the items, and nobody waits long: dead letters could be written, orders not.
	database := h.view2(t, `select current_database()`)
	if _, err := h.admin.Exec(t.Context(), fmt.Sprintf(`alter role orderbox in database %s set lock_timeout = '50ms'`, database)); err != nil {
		t.Fatal(err)
	}
	h.pool.Reset()
	holder, err := h.admin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback(context.Background())
	if _, err := holder.Exec(t.Context(), `lock table generation_1.items in exclusive mode`); err != nil {
		t.Fatal(err)
	}
	for m := range publisher.Messages(10, 300, 0) {
		h.receive(t, m.Payload)
	}
	h.start(t, 20)
	testservers.Eventually(t, "the projector has failed for want of the lock", func() bool {
		return strings.Contains(h.log.String(), "failed, trying again") // which a verdict would not say
	})
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	// And then its connections die under its hands, again and again.
	for range 5 {
		testservers.Eventually(t, "there is a connection to kill", func() bool {
			return h.view2(t, `select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and usename = 'orderbox'`) != "0"
		})
	}
	h.await(t)
	if got := h.view(t, `select orders, duplicates, dead_letters from checkpoint`); got != "300 0 0" {
		t.Errorf("orders, duplicates and dead letters are %s, want 300 0 0", got)
	}
}

func TestAProjectorThatWasThoughtDeadWritesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.receive(t, mustModelFile(t))
	stop := h.start(t, 20)
	h.await(t)
	stop()
	before := h.everything(t)
	p := h.newProjector(t, 20)
	x := h.open(t, p)
	x.checkpoint = 0
	judged := x.rules.judge([]inbox.Entry{{Position: 2, Payload: mustVary(t, "/order_uid", "another")}}, 1)
	if _, err := x.write(t.Context(), judged); !errors.Is(err, errMoved) {
		t.Errorf("writing from a checkpoint that has moved: %v, want errMoved", err)
	}
	if after := h.everything(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// view2 is view outside any generation.
func (h *house) view2(tb testing.TB, query string) (value string) {
	tb.Helper()
	if err := h.admin.QueryRow(tb.Context(), `select (`+query+`)::text`).Scan(&value); err != nil {
		tb.Fatal(err)
	}
	return value
}

func TestOneProjectorWorksAtATimeAndAnotherTakesOver(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	leaders := func() int { return strings.Count(h.log.String(), "msg=projecting") }
	first := h.start(t, 50)
	testservers.Eventually(t, "the first projects", func() bool { return leaders() == 1 })
	h.start(t, 50)
	h.start(t, 50)
	for m := range publisher.Messages(11, 300, 0.2) {
		h.receive(t, m.Payload)
	}
	h.await(t)
	if n := leaders(); n != 1 {
		t.Errorf("%d projectors have worked, want the first alone", n)
	}
	first()
	for m := range publisher.Messages(12, 300, 0.2) {
		h.receive(t, m.Payload)
	}
	h.await(t)
	if n := leaders(); n != 2 {
		t.Errorf("%d projectors have worked, want the first and one other", n)
	}
	if got := strings.Count(h.view(t, verdictsSQL), "none"); got != 0 {
		t.Errorf("%d messages have no verdict", got)
	}
}

// The log is long enough for reading, judging and writing to go on side by side. The limit is COPY into the same four
// tables; internal/bench measures both in turn. Small batches are those of messages that come one by one.
func BenchmarkProject(b *testing.B) {
	const part = 2000
	seed := uint64(1000)
	for _, batch := range []int{10, 50, 100, 150, 250, 0} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			h := newHouse(b)
			parts := 2
			if batch == 0 {
				parts = 20
			}
			for b.Loop() {
				b.StopTimer()
				for range parts {
					var payloads [][]byte
					for m := range publisher.Messages(seed, part, 0) {
						payloads = append(payloads, m.Payload)
					}
					h.receive(b, payloads...)
					seed++
				}
				b.StartTimer()
				stop := h.start(b, batch)
				h.await(b)
				stop()
			}
			b.ReportMetric(float64(parts*part*b.N)/b.Elapsed().Seconds(), "orders/s")
		})
	}
}
