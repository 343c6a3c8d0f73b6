package projector

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/inbox"
	"orderbox/internal/testservers"
	"orderbox/publisher"
)

// mustMonths makes a partition of the messages of sequences 1 to 299, as newHouse stamps them, and one up to 599.
func (h *house) mustMonths(t *testing.T) {
	t.Helper()
	h.mustExec(t, `create table inbox_a partition of inbox for values from ('1970-01-01 00:00:00Z') to ('1970-01-01 00:05:00Z')`)
	h.mustExec(t, `create table inbox_b partition of inbox for values from ('1970-01-01 00:05:00Z') to ('1970-01-01 00:10:00Z')`)
	for m := range publisher.Messages(61, 900, 0.2) {
		h.receive(t, m.Payload)
	}
}

// newProjectedMonths is a house with months that are projected, where nobody projects any more.
func newProjectedMonths(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	h.mustMonths(t)
	stop := h.start(t, 100)
	h.await(t)
	stop()
	return h
}

// What became of messages that were taken out of the log stays, and no replay drops it unless that is asked for.
func TestAReplayDoesNotDropWhatWasDetached(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.mustMonths(t)
	stop := h.start(t, 100)
	h.await(t)
	orders := h.view(t, `select count(1) from orders`)
	h.mustExec(t, `select detach_inbox_partition('inbox_a')`)
	stop()
	p := h.newProjector(t, 100)
	stop = h.run(t, p)
	if _, err := p.Order(t.Context(), false, false); !errors.Is(err, ErrDetached) || !strings.Contains(err.Error(), "299 messages") {
		t.Errorf("a replay: %v", err)
	}
	if _, err := p.Retry(t.Context(), "somebody", "", Selection{}, 1, func(Outcome) {}); err != nil {
		t.Errorf("the dead letters that are left are not retried: %v", err)
	}
	if _, err := p.Try(t.Context(), true, nil); !errors.Is(err, ErrDetached) {
		t.Errorf("a comparison: %v", err)
	}
	stop()
	// A new version judges what comes, and goes on with the generation that there is.
	next := h.newProjector(t, 100)
	next.schema = mustStrictSchema(t)
	h.run(t, next)
	testservers.Eventually(t, "its schema is adopted", func() bool { return h.view2(t, `select count(1) from schemas`) == "2" })
	h.receive(t, []byte("rubbish"))
	h.await(t)
	if got := h.view(t, `select count(1) from orders`); h.inService(t) != "generation_1" || got != orders {
		t.Errorf("%s is in service, with %s orders, want %s", h.inService(t), got, orders)
	}
	if _, err := next.Order(t.Context(), false, true); err != nil {
		t.Fatal(err)
	}
	h.awaitGeneration(t, "generation_2")
	if got := h.view(t, `select orders + duplicates + dead_letters - (select count(1) from inbox) from checkpoint`); got != "0" {
		t.Errorf("%s messages more than the log has", got)
	}
	if _, err := next.Order(t.Context(), false, false); err != nil {
		t.Errorf("nothing that is in service is lacking now: %v", err)
	}
}

// A month was taken out of the log, STAN has it still, and a relay copies all that STAN has. (The last month's messages
// are in the log.)
func TestCopiesOfADetachedMonthAreNothingNew(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.mustMonths(t)
	h.start(t, 100)
	h.await(t)
	rows, err := h.admin.Query(t.Context(), `select source, channel, sequence, stamped_at, payload from inbox order by position`)
	if err != nil {
		t.Fatal(err)
	}
	originals, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m inbox.Message, err error) {
		err = row.Scan(&m.Source, &m.Channel, &m.Sequence, &m.StampedAt, &m.Payload)
		return m, err
	})
	if err != nil {
		t.Fatal(err)
	}
	h.mustExec(t, `select detach_inbox_partition('inbox_a')`)
	const fatesSQL = `select orders, duplicates, dead_letters from checkpoint`
	fates, left := h.view(t, fatesSQL), h.view2(t, `select count(1) from inbox`)
	copies := make([]inbox.Message, len(originals))
	for i, m := range originals {
		id := m.Identity()
		copies[i] = inbox.Message{Source: inbox.SourceJetStream, Channel: "ORDERS@x", Sequence: int64(i + 1),
			StampedAt: time.Now().Add(time.Duration(i) * time.Millisecond), Payload: m.Payload, CopyOf: &id}
	}
	for range 2 { // and delivered again
		if stored, err := h.box.Append(t.Context(), copies); stored != 0 || err != nil {
			t.Errorf("%d copies of what has been in the log are new: %v", stored, err)
		}
	}
	if got := h.view2(t, `select count(1) from inbox`); got != left {
		t.Errorf("%s messages are in the log, want %s", got, left)
	}
	if got := h.view(t, fatesSQL); got != fates {
		t.Errorf("verdicts are %s, were %s", got, fates)
	}
	if spans, err := h.box.Missing(t.Context(), inbox.SourceJetStream, "ORDERS@x", 1, int64(len(copies)), time.Time{}, 9); len(spans) != 0 || err != nil {
		t.Errorf("of the stream's count %v is missing: %v", spans, err)
	}
	if got := h.view2(t, `select count(1) filter (where original = 0) || ' of ' || count(1) from copies`); got != "299 of "+h.view2(t, `select 299 + `+left) {
		t.Errorf("%s copies are of what is not there", got)
	}
	h.mustExec(t, `select attach_inbox_partition('inbox_a', '1970-01-01 00:00:00Z', '1970-01-01 00:05:00Z')`)
}

func TestALogThatLostMessagesReplacesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.mustMonths(t)
	h.start(t, 100)
	h.await(t)
	h.mustExec(t, `alter table inbox detach partition inbox_a`)
	p := h.newProjector(t, 100)
	if _, err := p.Order(t.Context(), false, false); err != nil {
		t.Fatal(err)
	}
	testservers.Eventually(t, "the replay says what is lacking", func() bool {
		return strings.Contains(h.log.String(), "the log lacks 299 messages")
	})
	if got := h.inService(t); got != "generation_1" {
		t.Errorf("%s is in service", got)
	}
	h.mustExec(t, `alter table inbox attach partition inbox_a for values from ('1970-01-01 00:00:00Z') to ('1970-01-01 00:05:00Z')`)
	if _, err := p.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Order(t.Context(), false, false); err != nil {
		t.Fatal(err)
	}
	testservers.Eventually(t, "the replay is in service", func() bool { return h.inService(t) != "generation_1" })
}

func TestOnlyWhatIsOverAndProjectedIsDetached(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.mustMonths(t)
	h.mustExec(t, `create table inbox_c partition of inbox for values from ('2100-01-01Z') to ('2100-02-01Z')`)
	refused := func(partition, why string) {
		t.Helper()
		_, err := h.admin.Exec(t.Context(), `select detach_inbox_partition($1)`, partition)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want: %s", partition, err, why)
		}
	}
	refused("inbox_a", "nothing is projected yet")
	stop := h.start(t, 100)
	h.await(t)
	stop()
	refused("inbox_other", "no month")
	refused("orders", "no month")
	refused("inbox_c", "not over")
	refused("inbox_b", "older")
	h.mustExec(t, `update generation_1.checkpoint set position = 200`)
	refused("inbox_a", "generation_1 has not projected all of inbox_a")
	// One that was asked for again comes late, and is not the last for that.
	h.mustExec(t, `delete from inbox where sequence = 5`)
	h.receiveAt(t, 5, []byte("late"))
	h.mustExec(t, `update generation_1.checkpoint set position = 901`)
	if got := h.view2(t, `select detach_inbox_partition('inbox_a')`); got != "299" {
		t.Errorf("%s were detached", got)
	}
	const noted = "inbox_a stan orders 299 1 901 299 299"
	if got := h.view2(t, `select concat_ws(' ', partition, source, channel, messages, first, last, last_sequence, extract(epoch from last_stamp)::integer) from detached`); got != noted {
		t.Errorf("%s is noted, want %s", got, noted)
	}
}

// receiveAt appends a message that has a sequence of its own.
func (h *house) receiveAt(t *testing.T, sequence int64, payload []byte) {
	t.Helper()
	m := inbox.Message{Source: inbox.SourceSTAN, Channel: "orders", Sequence: sequence, StampedAt: time.Unix(sequence, 0), Payload: payload}
	if _, err := h.box.Append(t.Context(), []inbox.Message{m}); err != nil {
		t.Fatal(err)
	}
}

// detach begins to detach inbox_a, without giving up soon, and returns when it waits for a lock.
func (h *house) detach(t *testing.T) (detached <-chan error) {
	t.Helper()
	h.mustExec(t, `alter function detach_inbox_partition set lock_timeout = '5min'`)
	result := make(chan error, 1)
	go func() {
		_, err := h.admin.Exec(t.Context(), `select detach_inbox_partition('inbox_a')`)
		result <- err
	}()
	const waitsSQL = `
		select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
			and query like '%detach_inbox_partition(''%' and pid <> pg_backend_pid())`
	testservers.Eventually(t, "the detaching waits", func() bool { return h.view2(t, waitsSQL) == "true" })
	return result
}

// Nobody's message waits while a month is read, which takes long, nor does the detaching fail for those that come.
func TestMessagesComeWhileAMonthIsDetached(t *testing.T) {
	t.Parallel()
	h := newProjectedMonths(t)
	holds, err := testservers.Open(t, h.AdminURL, 1).Begin(t.Context()) // the month cannot be read
	if err != nil {
		t.Fatal(err)
	}
	defer holds.Rollback(context.WithoutCancel(t.Context()))
	// So that a message which waits fails the test, and does not hang.
	for _, statement := range []string{`set local idle_in_transaction_session_timeout = '1min'`, `lock table inbox_a in access exclusive mode`} {
		if _, err := holds.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	detached := h.detach(t)
	h.receive(t, []byte("comes meanwhile"))
	if err := holds.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-detached; err != nil {
		t.Error(err)
	}
}

// Either the next generation begins with the month or it is refused to be begun; what was ordered meanwhile keeps the month.
func TestAMonthIsNotDetachedWhileAReplayIsOrdered(t *testing.T) {
	t.Parallel()
	h := newProjectedMonths(t)
	p := h.newProjector(t, 100)
	var detached <-chan error
	err := p.inTx(t.Context(), "order a replay", func(tx pgx.Tx) error { // as Order does
		_, inForce, err := p.alone(t.Context(), tx)
		if err != nil {
			return err
		}
		if err := checkWhole(t.Context(), tx, generation{name: "generation_1"}); err != nil {
			return err
		}
		detached = h.detach(t)
		_, err = p.order(t.Context(), tx, false, inForce)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-detached; err == nil || !strings.Contains(err.Error(), "generation_2 has not projected all of inbox_a") {
		t.Errorf("detached: %v", err)
	}
}

// What is built to be compared with lacks what is detached meanwhile, and nothing is to be repaired by it.
func TestNoComparisonWithWhatIsDetachedMeanwhile(t *testing.T) {
	t.Parallel()
	h := newProjectedMonths(t)
	detached := false
	_, err := h.newProjector(t, 10).Try(t.Context(), true, func(int64, int64) {
		if !detached {
			detached = true
			h.mustExec(t, `select detach_inbox_partition('inbox_a')`)
		}
	})
	if !errors.Is(err, ErrDetached) {
		t.Errorf("compared: %v", err)
	}
}

// Nothing has come since the month that is left behind, so the log is empty.
func TestAReplayLeavesTheLastMonthBehind(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.mustExec(t, `create table inbox_a partition of inbox for values from ('1970-01-01 00:00:00Z') to ('1970-01-01 00:05:00Z')`)
	for m := range publisher.Messages(62, 100, 0.2) {
		h.receive(t, m.Payload)
	}
	h.start(t, 30)
	h.await(t)
	h.mustExec(t, `select detach_inbox_partition('inbox_a')`)
	if _, err := h.newProjector(t, 30).Order(t.Context(), false, true); err != nil {
		t.Fatal(err)
	}
	h.awaitGeneration(t, "generation_2")
	h.receive(t, []byte("rubbish"))
	h.await(t)
	if got := h.view(t, `select concat_ws(' ', position, orders, duplicates, dead_letters) from checkpoint`); got != "101 0 0 1" {
		t.Errorf("the checkpoint is %s", got)
	}
}
