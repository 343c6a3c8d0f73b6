package projector

import (
	"testing"

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
