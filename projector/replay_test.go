package projector

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"orderbox/internal/testservers"
	"orderbox/publisher"
)

// inService is the name of the generation that is; empty when none is.
func (h *house) inService(tb testing.TB) string {
	tb.Helper()
	return h.view2(tb, `select coalesce((select name from generations where state = 'current'), '')`)
}

func (h *house) awaitGeneration(tb testing.TB, name string) {
	tb.Helper()
	testservers.Eventually(tb, name+" is in service", func() bool { return h.inService(tb) == name })
}

// awaitOneSchema waits until all tables but those in service are dropped.
func (h *house) awaitOneSchema(tb testing.TB) {
	tb.Helper()
	testservers.Eventually(tb, "one schema is left", func() bool {
		return h.view2(tb, `select count(1) from pg_namespace where nspname ~ '^generation_'`) == "1"
	})
}

// What is given up while somebody reads it is dropped when that is over, and nobody waits for it.
func TestAReaderKeepsNobodyFromReplaying(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start(t, 30)
	h.awaitGeneration(t, "generation_1")
	p := h.newProjector(t, 30)
	reader, err := h.admin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Exec(t.Context(), `select count(1) from generation_1.orders`); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if _, err := p.Order(t.Context(), false, false); err != nil {
			t.Fatal(err)
		}
		h.awaitGeneration(t, fmt.Sprint("generation_", n+2))
	}
	if got := h.view2(t, `select to_regclass('generation_1.orders') is not null`); got != "true" {
		t.Error("the table was dropped under its reader")
	}
	if err := reader.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.DropPrevious(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.awaitOneSchema(t)
}

func (h *house) mustExec(tb testing.TB, statement string, args ...any) {
	tb.Helper()
	if _, err := h.admin.Exec(tb.Context(), statement, args...); err != nil {
		tb.Fatal(err)
	}
}

func TestAReplayTakesOverWhileMessagesGoOnComing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for m := range publisher.Messages(21, 1000, 0.2) {
		h.receive(t, m.Payload)
	}
	h.start(t, 30)
	h.await(t)
	p := h.newProjector(t, 30)
	if _, err := p.Order(t.Context(), false, false); err != nil {
		t.Fatal(err)
	}
	for m := range publisher.Messages(22, 1000, 0.2) {
		h.receive(t, m.Payload)
	}
	h.awaitGeneration(t, "generation_2")
	h.await(t)
	h.receive(t, mustModelFile(t))
	h.await(t)
	want := h.everything(t)
	if got := h.viewOf(t, "previous", `select position from checkpoint`); got == "2001" {
		t.Errorf("the previous generation went on to %s", got)
	}

	if _, err := p.RollBack(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.awaitGeneration(t, "generation_1")
	h.await(t)
	if got := h.everything(t); got != want {
		t.Errorf("rolled back:\n%s\nreplayed:\n%s", got, want)
	}
	if was, err := p.DropPrevious(t.Context()); !was || err != nil {
		t.Errorf("dropped: %t, %v", was, err)
	}
	if _, err := p.RollBack(t.Context()); !errors.Is(err, ErrNoPrevious) {
		t.Errorf("rolled back to nothing: %v", err)
	}
	h.awaitOneSchema(t)
}

// A replay that is ordered while another one is being put in service waits for that one; messages do not wait
// for it meanwhile, and both end in service.
func TestAReplayIsOrderedWhileAnotherOneTakesOver(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.receive(t, mustModelFile(t))
	stop := h.start(t, 30)
	h.await(t)
	stop()
	p := h.newProjector(t, 30)
	if _, err := p.Order(t.Context(), false, false); err != nil {
		t.Fatal(err)
	}
	takesOver, err := h.admin.Begin(t.Context()) // as takeOver does
	if err != nil {
		t.Fatal(err)
	}
	defer takesOver.Rollback(context.WithoutCancel(t.Context()))
	// So that a message which waits for the order fails the test, and does not hang.
	for _, statement := range []string{`set local idle_in_transaction_session_timeout = '1min'`, retireGenerationSQL, `update generations set state = 'current' where state = 'building'`} {
		if _, err := takesOver.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	ordered := make(chan error, 1)
	go func() {
		_, err := p.Order(t.Context(), false, false)
		ordered <- err
	}()
	const waitsSQL = `
		select exists (select from pg_locks where not granted and locktype in ('transactionid', 'tuple')
			and pid in (select pid from pg_stat_activity where datname = current_database()))`
	testservers.Eventually(t, "the order waits", func() bool { return h.view2(t, waitsSQL) == "true" })
	h.receive(t, mustVary(t, "/order_uid", "meanwhile"))
	if err := takesOver.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ordered; err != nil {
		t.Fatal(err)
	}
	h.start(t, 30)
	h.awaitGeneration(t, "generation_3")
	h.await(t)
	if got := h.view(t, `select count(1) from orders`); got != "2" {
		t.Errorf("%s orders, want 2", got)
	}
}

// The generation that is being built follows the log like any, so it may as well be given up half-way.
func TestAReplayIsOrderedAnewOrCancelledWithoutATrace(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for m := range publisher.Messages(23, 500, 0.2) {
		h.receive(t, m.Payload)
	}
	stop := h.start(t, 30)
	h.await(t)
	stop()
	want := h.everything(t)
	p := h.newProjector(t, 30)
	for range 3 {
		if _, err := p.Order(t.Context(), false, false); err != nil {
			t.Fatal(err)
		}
	}
	if was, err := p.Cancel(t.Context()); !was || err != nil {
		t.Fatalf("cancelled: %t, %v", was, err)
	}
	if was, err := p.Cancel(t.Context()); was || err != nil {
		t.Errorf("cancelled nothing: %t, %v", was, err)
	}
	h.start(t, 30)
	if got := h.everything(t); got != want || h.inService(t) != "generation_1" {
		t.Errorf("in service is %s with\n%s\nwant\n%s", h.inService(t), got, want)
	}
	h.awaitOneSchema(t)
}

// strictProjector is another version of this program, whose schema lets no id have more than five characters.
func (h *house) strictProjector(tb testing.TB) *Projector {
	tb.Helper()
	p := h.newProjector(tb, 30)
	p.schema = mustStrictSchema(tb)
	return p
}

func TestANewSchemaIsAdoptedAndJudgesEverythingAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.receive(t, mustModelFile(t))
	stop := h.run(t, h.strictProjector(t))
	h.await(t)
	stop()
	if got := h.view(t, verdictsSQL); got != "invalid" {
		t.Fatalf("by the old schema the model is %s", got)
	}
	h.start(t, 30)
	h.awaitGeneration(t, "generation_2")
	if got := h.view(t, verdictsSQL); got != "order" {
		t.Errorf("by the new schema the model is %s", got)
	}
	if got := h.view2(t, `select string_agg(id || ' after ' || after, ', ' order by id) from schemas`); got != "1 after 1, 2 after 1" {
		t.Errorf("schemas: %s", got)
	}
}

func TestWithinAGenerationEachSchemaJudgesFromItsPlaceOn(t *testing.T) {
	t.Parallel()
	loose, strict := mustSchema(t), mustStrictSchema(t)
	r := rules{{1, 0, strict}, {2, 10, loose}, {5, 20, strict}}
	for position, want := range map[int64]*schema{1: strict, 10: strict, 11: loose, 20: loose, 21: strict, 1000: strict} {
		if got := r.at(position); got != want {
			t.Errorf("position %d is judged by %s, want %s", position, got.version, want.version)
		}
	}
}

func mustStrictSchema(tb testing.TB) *schema {
	tb.Helper()
	s, err := newSchema([]byte(strings.Replace(string(orderSchema), `"minLength": 1, "maxLength": 64`, `"minLength": 1, "maxLength": 5`, 1)))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestAnOlderVersionGoesOnByTheRulesInForce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i, p := range []*Projector{h.newProjector(t, 30), h.strictProjector(t)} {
		stop := h.run(t, p)
		h.awaitGeneration(t, fmt.Sprint("generation_", i+1))
		stop()
	}
	h.receive(t, mustModelFile(t))
	h.start(t, 30) // the first one again
	h.await(t)
	if got := h.view(t, verdictsSQL); got != "invalid" {
		t.Errorf("the model is %s: the older version's schema judged it", got)
	}
	if got := h.view2(t, `select count(1) from schemas`) + h.inService(t); got != "2generation_2" {
		t.Errorf("schemas and generation in service are %s", got)
	}
	// Being asked to is another matter.
	if _, err := h.newProjector(t, 30).Order(t.Context(), true, false); err != nil {
		t.Fatal(err)
	}
	h.awaitGeneration(t, "generation_3")
	if got := h.view(t, verdictsSQL); got != "order" {
		t.Errorf("by the older version's schema the model is %s", got)
	}
}

func TestAnotherVersionsTablesAreLeftAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	stop := h.start(t, 30)
	h.awaitGeneration(t, "generation_1")
	stop()
	h.mustExec(t, `update generations set fingerprint = 'newer'`)
	h.mustExec(t, `insert into schemas (version, fingerprint, source, after) select 'newer', 'newer', source, 0 from schemas`)
	h.receive(t, mustModelFile(t))
	h.start(t, 30)
	testservers.Eventually(t, "it is said", func() bool { return strings.Contains(h.log.String(), "was made by another version") })
	if got := h.view(t, `select position from checkpoint`); got != "0" {
		t.Errorf("projected up to %s into another version's tables", got)
	}
}

// What an operator decides, as package inbox writes it.
const retrySQL = `
	with entry as (
		insert into inbox (source, channel, sequence, stamped_at, payload, original)
		select 'operator', 'retry', i.position, clock_timestamp(), i.payload, i.position
		from inbox as i
		where i.position = $1
		returning position, original
	)
	insert into decisions (position, kind, entry, decided_by, note)
	select original, 'retry', position, 'test', ''
	from entry`

const amendSQL = `
	with entry as (
		insert into inbox (source, channel, sequence, stamped_at, payload, original)
		values ('operator', 'amend', $1, clock_timestamp(), $2, $1)
		returning position, original
	)
	insert into decisions (position, kind, entry, decided_by, note)
	select original, 'amend', position, 'test', ''
	from entry`

const decideSQL = `
	insert into decisions (position, kind, decided_by, note)
	values ($1, $2, 'test', '')`

// The trap: the first message of two for one order was refused, the second one made the order, and now the
// first is retried. In this generation it comes too late; judged again from the beginning it comes first.
func TestARetryComesWhereItHappened(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	stop := h.run(t, h.strictProjector(t))
	order := mustModel(t)
	order["order_uid"] = "short"
	first := mustJSON(t, order) // its track number is too long for the strict schema
	order["track_number"] = "track"
	order["payment"].(map[string]any)["transaction"] = "short"
	order["items"].([]any)[0].(map[string]any)["track_number"] = "track"
	h.receive(t, first, mustJSON(t, order), mustModelFile(t))
	h.await(t)
	stop()
	if got := h.view(t, verdictsSQL); got != "invalid\norder\ninvalid" {
		t.Fatalf("verdicts by the strict schema: %q", got)
	}

	next := h.newProjector(t, 30) // whose schema is in force already, so that it orders no replay
	h.deploy(t, next)
	h.run(t, next)
	h.mustExec(t, retrySQL, 1)
	h.mustExec(t, retrySQL, 3)
	h.mustExec(t, amendSQL, 1, mustVary(t, "/order_uid", "amended"))
	h.mustExec(t, retrySQL, 3)
	h.mustExec(t, `select pg_notify('orderbox_inbox', '')`)
	h.await(t)
	if got := h.view(t, verdictsSQL); got != "invalid\norder\ninvalid\nconflict\norder\norder\nduplicate" {
		t.Errorf("verdicts: %q", got)
	}
	if got := h.view(t, `select position, original, resolved, state from dead_letters order by position`); got != "1 <nil> 6 resolved\n3 <nil> 5 resolved\n4 1 <nil> open" {
		t.Errorf("dead letters: %q", got)
	}
	h.mustBeTheSameAgain(t, next)

	if _, err := next.Order(t.Context(), false, false); err != nil {
		t.Fatal(err)
	}
	h.awaitGeneration(t, "generation_2")
	if got := h.view(t, verdictsSQL); got != "order\nconflict\norder\nduplicate\nduplicate\norder\nduplicate" {
		t.Errorf("verdicts from the beginning: %q", got)
	}
	h.mustBeTheSameAgain(t, next)
}

// mustBeTheSameAgain projects the log once more by the rules of the generation in service.
func (h *house) mustBeTheSameAgain(tb testing.TB, p *Projector) {
	tb.Helper()
	h.await(tb)
	want := h.everything(tb)
	trial, err := p.Try(tb.Context(), true, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if got := h.everythingOf(tb, trial.Name); got != want {
		tb.Errorf("by the same rules:\n%s\nwant\n%s", got, want)
	}
	if err := trial.Drop(tb.Context()); err != nil {
		tb.Error(err)
	}
}
