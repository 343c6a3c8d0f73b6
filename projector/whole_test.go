package projector

import (
	"errors"
	"strings"
	"testing"

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
	h.awaitGeneration(t, "generation_3")
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
	h.mustExec(t, `update generation_1.checkpoint set position = 500`)
	refused("inbox_b", "generation_1 has not projected all of inbox_b")
	if got := h.view2(t, `select detach_inbox_partition('inbox_a')`); got != "299" {
		t.Errorf("%s were detached", got)
	}
	const noted = "inbox_a stan orders 299 1 299 299 299"
	if got := h.view2(t, `select concat_ws(' ', partition, source, channel, messages, first, last, last_sequence, extract(epoch from last_stamp)::integer) from detached`); got != noted {
		t.Errorf("%s is noted, want %s", got, noted)
	}
}
