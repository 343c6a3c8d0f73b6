package projector

import (
	"testing"

	"orderbox/internal/testservers"
	"orderbox/publisher"
)

func TestARepairPutsSingleMessagesRight(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for m := range publisher.Messages(61, 300, 0.3) {
		h.receive(t, m.Payload)
	}
	h.run(t, h.newProjector(t, 30))
	h.await(t)
	want := h.everything(t)
	created := h.view2(t, `select created_at from generations where state = 'current'`)
	for _, damage := range []string{
		`update generation_1.deliveries set city = 'Elsewhere' where position = (select min(position) from generation_1.deliveries)`,
		`delete from generation_1.items where position = (select max(position) from generation_1.items)`,
		`update generation_1.orders set track_number = 'other' where position in (select first from generation_1.duplicates)`,
		`delete from generation_1.dead_letter_places`,
		`update generation_1.dead_letters set sentence = '', resolved = 5`,
		`update generation_1.checkpoint set orders = orders + 3`,
		`update generation_1.dead_letter_counts set letters = letters + 1`,
		`delete from generation_1.duplicates where position = (select min(position) from generation_1.duplicates)`,
	} {
		h.mustExec(t, damage)
	}
	if h.everything(t) == want {
		t.Fatal("nothing is damaged")
	}
	trial, err := h.newProjector(t, 30).Try(t.Context(), true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer trial.Drop(t.Context())
	var all []int64
	for position := range int64(300) {
		all = append(all, position+1)
	}
	if err := trial.Repair(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if got := h.everything(t); got != want {
		t.Errorf("repaired:\n%s\nwant\n%s", got, want)
	}
	if h.view2(t, `select created_at from generations where state = 'current'`) == created {
		t.Error("caches do not notice")
	}
}

func TestARepairUndoesNoLaterDecision(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.receive(t, []byte("rubbish"), []byte("more of it"))
	h.run(t, h.newProjector(t, 30))
	h.await(t)
	decide := func(kind string, position int, want string) {
		t.Helper()
		h.mustExec(t, decideSQL, position, kind)
		h.mustExec(t, `select pg_notify('orderbox_inbox', '')`)
		testservers.Eventually(t, "it is applied", func() bool { return h.view(t, discardedSQL) == want })
	}
	decide("discard", 2, "2")
	trial, err := h.newProjector(t, 30).Try(t.Context(), true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer trial.Drop(t.Context())
	decide("discard", 1, "1 2")
	decide("reopen", 2, "1")
	if err := trial.Repair(t.Context(), []int64{1, 2}); err != nil {
		t.Fatal(err)
	}
	if got := h.view(t, discardedSQL); got != "1" {
		t.Errorf("discarded after the repair are %q, want 1", got)
	}
}

const discardedSQL = `
	select coalesce(string_agg(position::text, ' ' order by position), '')
	from dead_letters
	where state = 'discarded'`
