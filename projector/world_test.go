package projector

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/inbox"
	"orderbox/internal/testservers"
	"orderbox/publisher"
)

// However slow the database is, there is a portion of a batch that it takes in time.
func TestWhatIsTooMuchAtOnceIsProjectedInPortions(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	stop := h.start(t, 50)
	h.await(t)
	stop()
	h.mustExec(t, `create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.03); return new; end $$`)
	h.mustExec(t, `create trigger dawdle before insert on generation_1.orders for each row execute function dawdle()`)
	h.mustExec(t, `alter role orderbox in database `+h.view2(t, `select current_database()`)+` set statement_timeout = '400ms'`)
	h.pool.Reset()
	for m := range publisher.Messages(31, 60, 0) {
		h.receive(t, m.Payload)
	}
	h.start(t, 50)
	h.await(t)
	if got := h.view(t, `select orders, duplicates, dead_letters from checkpoint`); got != "60 0 0" {
		t.Errorf("orders, duplicates and dead letters are %s, want 60 0 0", got)
	}
}

func TestProjectingGoesOnWhenNobodyCanBeNotified(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.mustExec(t, `revoke execute on function pg_notify(text, text) from public`)
	h.receive(t, mustModelFile(t))
	stop := h.start(t, 50)
	h.await(t)
	stop() // after what it has to say
	if n := strings.Count(h.log.String(), "cannot be notified"); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
}

// A fault of this program in one message delays no other, and is no secret.
func TestAMessageThatMakesTheProgramFailIsADeadLetter(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.receive(t, mustVary(t, "/order_uid", "before"), mustVary(t, "/order_uid", "between"), mustVary(t, "/order_uid", "after"))
	p := h.newProjector(t, 20)
	x := h.open(t, p)
	good := x.rules[0].schema
	x.rules = rules{{1, 0, good}, {1, 1, &schema{version: "broken"}}, {1, 2, good}} // which panics at its first use
	judged, _, err := x.next(t.Context(), 0)
	if err == nil {
		err = x.advance(t.Context(), judged)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, want := h.view(t, verdictsSQL), "order\nunjudged\norder"; got != want {
		t.Errorf("the verdicts are\n%s\nwant\n%s", got, want)
	}
	if log := h.log.String(); !strings.Contains(log, "nil pointer") || !strings.Contains(log, "projector/schema.go") || strings.Contains(log, "between") {
		t.Errorf("the log must say where it failed, and nothing of the message: %s", log)
	}
}

// A process that is stopped keeps its connections, and so the lock of the one projector. In the middle of a COPY no
// timeout of the server's counts.
func TestALeaderThatHangsLosesItsConnection(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.mustExec(t, `create table slow (line text); grant insert on slow to orderbox`)
	holder, err := lead(t.Context(), h.pool, "orderbox projector", projectorSilence, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close(context.Background())
	sending, stop := context.WithCancel(t.Context())
	living, end := context.WithCancel(t.Context())
	copied := make(chan error, 1)
	var copying sync.WaitGroup
	copying.Go(func() {
		_, err := holder.PgConn().CopyFrom(context.Background(), slowSender{sending, living}, `copy slow from stdin`)
		copied <- err
	})
	defer copying.Wait()
	defer end()
	defer stop()

	var looks atomic.Int64
	leads := make(chan error, 1)
	go func() {
		next, err := lead(t.Context(), h.pool, "orderbox projector", projectorSilence, func() { looks.Add(1) })
		if err == nil {
			err = next.Close(context.Background())
		}
		leads <- err
	}()
	longer := 2 * int64(projectorSilence.own/leadPoll)
	testservers.Eventually(t, "it is looked at for longer than it may be silent", func() bool { return looks.Load() > longer || len(leads) > 0 })
	if len(leads) > 0 || len(copied) > 0 {
		t.Fatal("one whose COPY is slow, but goes on, lost its lock")
	}
	stop()
	select {
	case err := <-leads:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(projectorSilence.database / 2):
		t.Fatal("one that was stopped in a COPY has its lock still")
	}
	end()
	if err := <-copied; err == nil {
		t.Error("the COPY of a connection that was ended worked")
	}
}

// slowSender says a line now and then, and then nothing until it ends, like a process that is stopped.
type slowSender struct{ sending, living context.Context }

func (s slowSender) Read(line []byte) (int, error) {
	select {
	case <-s.sending.Done():
		<-s.living.Done()
		return 0, io.EOF
	case <-time.After(leadSign / 5):
		return copy(line, "one more\n"), nil
	}
}

// It is the database that is slow then.
func TestALeaderThatWaitsForTheDatabaseMayBeSilent(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	holder, err := lead(t.Context(), h.pool, "orderbox projector", projectorSilence, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close(context.Background())
	answered := make(chan error, 1)
	go func() {
		_, err := holder.Exec(context.Background(), `select pg_sleep(600)`)
		answered <- err
	}()
	testservers.Eventually(t, "the statement runs", func() bool {
		return h.view2(t, `select count(1) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`) == "1"
	})
	next := testservers.Open(t, h.ServiceURL, 1)
	look := func(may silence) (ended bool) {
		var seen sending
		for range 2 {
			err := next.AcquireFunc(t.Context(), func(c *pgxpool.Conn) (err error) {
				ended, err = endSilent(t.Context(), c.Conn(), "orderbox projector", may, &seen)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if ended {
				return true
			}
		}
		return false
	}
	if look(silence{0, time.Hour}) {
		t.Error("one that waits for the database lost its lock")
	}
	if !look(silence{time.Hour, 0}) {
		t.Error("one that has waited for too long has its lock still")
	}
	if err := <-answered; err == nil {
		t.Error("the statement of a connection that was ended worked")
	}
}

// What is read next may take long to judge, and then nothing is asked of the database meanwhile.
func TestALeaderThatJudgesForLongShowsThatItLives(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := h.newProjector(t, 50)
	x := h.open(t, p)
	batches, followed := make(chan []judgement), make(chan error, 1)
	failed := make(chan error, 1)
	go func() { followed <- x.follow(t.Context(), x.rest, batches, failed) }()
	sign := func() string {
		return h.view2(t, fmt.Sprintf(`select state_change from pg_stat_activity where pid = %d`, x.conn.PgConn().PID()))
	}
	before := sign()
	testservers.Eventually(t, "it shows that it lives", func() bool { return sign() != before })
	failed <- nil
	close(batches)
	if err := <-followed; err != nil {
		t.Error(err)
	}
}

// Another is at work within five seconds.
func TestStandingByIsShort(t *testing.T) {
	t.Parallel()
	if longest := projectorSilence.own + 2*leadPoll; longest > 5*time.Second || projectorSilence.own < 2*leadSign {
		t.Errorf("%v may pass until another projector leads, of which one that lives shows it every %v", longest, leadSign)
	}
}

// Every one of these errors comes from the server while an order is stored, by a trigger on the table.
func TestEveryErrorOfTheWorldIsTheWorldsFault(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	stop := h.start(t, 50)
	h.await(t)
	stop()
	h.mustExec(t, `create function complain() returns trigger language plpgsql as $$
		begin execute current_setting('test.complaint'); return new; end $$`)
	h.mustExec(t, `create trigger complain before insert on generation_1.orders for each row execute function complain()`)
	h.mustExec(t, `create function deep(n integer) returns integer language plpgsql as $$ begin return deep(n + 1); end $$`)
	raise := func(code string) string {
		return fmt.Sprintf(`do $x$ begin raise exception using errcode = '%s'; end $x$`, code)
	}
	for code, complaint := range map[string]string{
		// What can be brought about by asking for it.
		"25006": `set local transaction_read_only = on; insert into public.decisions (position, kind, decided_by, note) values (1, 'discard', '', '')`,
		"57014": `select pg_cancel_backend(pg_backend_pid()); select pg_sleep(10)`,
		"57P01": `select pg_terminate_backend(pg_backend_pid()); select pg_sleep(10)`,
		"42501": `create table pg_catalog.mine ()`,
		"42P01": `select from nowhere`,
		"3D000": raise("3D000"),
		"54001": `select deep(0)`,
		// What takes the whole server down with it, or two of them.
		"08000": raise("08000"), "08003": raise("08003"), "08006": raise("08006"), "08P01": raise("08P01"),
		"0A000": raise("0A000"), "25P03": raise("25P03"), "40001": raise("40001"), "40P01": raise("40P01"),
		"53000": raise("53000"), "53100": raise("53100"), "53200": raise("53200"), "53300": raise("53300"), "53400": raise("53400"),
		"55000": raise("55000"), "55006": raise("55006"), "55P03": raise("55P03"),
		"57000": raise("57000"), "57P02": raise("57P02"), "57P03": raise("57P03"), "57P05": raise("57P05"),
		"58000": raise("58000"), "58030": raise("58030"), "58P01": raise("58P01"), "F0000": raise("F0000"),
		"XX000": raise("XX000"), "XX001": raise("XX001"), "XX002": raise("XX002"),
		// And what the data can be blamed for.
		"22003": `select 40000::smallint`, "54000": raise("54000"), "23514": raise("23514"), "P0001": raise("P0001"),
	} {
		t.Run(code, func(t *testing.T) {
			x := h.open(t, h.newProjector(t, 20))
			if _, err := x.conn.Exec(t.Context(), `select set_config('test.complaint', $1, false)`, complaint); err != nil {
				t.Fatal(err)
			}
			judged := x.rules.judge([]inbox.Entry{{Position: 1, Payload: mustModelFile(t)}}, 1)
			_, err := x.write(t.Context(), judged)
			if state := sqlState(err); state != code {
				t.Fatalf("provoked %q: %v", state, err)
			}
			blamed, want := blamesMessage(err), code[:2] == "22" || code[:2] == "23" || code[:2] == "P0" || code == "54000"
			if blamed != want {
				t.Errorf("the message is blamed: %v, want %v", blamed, want)
			}
		})
	}
}

// Tables may have been analysed when they held a few rows, and grow to a million before they are again.
func TestWhatIsProjectedIsLookedUpByIndexesWhateverThePlannerKnows(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start(t, 50)
	var payloads [][]byte
	for m := range publisher.Messages(31, 400, 0.3) {
		payloads = append(payloads, m.Payload)
	}
	h.receive(t, payloads[:50]...)
	h.await(t)
	h.mustExec(t, `analyze`)
	const scansSQL = `
		select string_agg(relname || ' ' || seq_scan, ', ' order by relname)
		from pg_stat_all_tables
		where schemaname = 'generation_1' and relname in ('orders', 'dead_letters')`
	written := func(rows string) func() bool {
		return func() bool {
			return h.view2(t, `select count(1) = 2 from pg_stat_all_tables
				where schemaname = 'generation_1' and relname in ('orders', 'dead_letters') and n_tup_ins > `+rows) == "true"
		}
	}
	testservers.Eventually(t, "the statistics tell of the first rows", written("0"))
	before := h.view2(t, scansSQL)
	h.receive(t, payloads[50:]...)
	h.await(t)
	testservers.Eventually(t, "the statistics tell of all rows", written(`(
		select case relname when 'orders' then orders else dead_letters end
		from generation_1.checkpoint) - 1`))
	if after := h.view2(t, scansSQL); after != before {
		t.Errorf("tables were read whole: %s; before: %s", after, before)
	}
}
