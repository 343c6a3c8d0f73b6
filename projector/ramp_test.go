package projector

import (
	"errors"
	"fmt"
	"testing"
)

// deploy puts a schema in force without building the next generation, as it is while that is built.
func (h *house) deploy(tb testing.TB, p *Projector) {
	tb.Helper()
	h.mustExec(tb, `
		insert into schemas (version, fingerprint, source, after)
		select $1, $2, $3, max(position)
		from inbox`, p.schema.version, fingerprint(), p.schema.source)
}

// refused are messages that the strict schema refuses; those with a fault are refused by any.
func refused(tb testing.TB, from, to int, fault bool) (payloads [][]byte) {
	for i := from; i < to; i++ {
		order := mustModel(tb)
		order["order_uid"] = fmt.Sprint("order-", i)
		if fault {
			order["sm_id"] = "none"
		}
		payloads = append(payloads, mustJSON(tb, order))
	}
	return payloads
}

func TestARampRetriesInGrowingWavesAsPredicted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	stop := h.run(t, h.strictProjector(t))
	h.receive(t, refused(t, 0, 30, false)...)
	h.receive(t, refused(t, 30, 35, true)...)
	h.receive(t, refused(t, 0, 5, false)...) // duplicates of the first
	h.receive(t, []byte("{"))
	h.await(t)
	stop()
	p := h.newProjector(t, 30)
	h.deploy(t, p)
	h.run(t, p)

	predicted, err := p.Predict(t.Context(), Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Outcome{Orders: 30, Duplicates: 5, Refused: 6}); predicted != want {
		t.Errorf("predicted %+v, want %+v", predicted, want)
	}
	if few, err := p.Predict(t.Context(), Selection{Reason: "malformed"}); err != nil || few != (Outcome{Refused: 1}) {
		t.Errorf("of the malformed: %+v, %v", few, err)
	}
	var sizes []int64
	before := Outcome{}
	total, err := p.Retry(t.Context(), "test", "a fix", Selection{}, 0.5, func(o Outcome) {
		sizes = append(sizes, o.Retried()-before.Retried())
		before = o
	})
	if err != nil || total != predicted {
		t.Errorf("retried %+v, %v; predicted %+v", total, err, predicted)
	}
	if fmt.Sprint(sizes) != "[1 2 5 10 20 3]" {
		t.Errorf("in waves of %v", sizes)
	}
	if got := h.view(t, `select state, count(1) from dead_letters where original is null group by state order by state`); got != "open 6\nresolved 35" {
		t.Errorf("dead letters: %q", got)
	}
	h.mustBeTheSameAgain(t, p)
}

func TestARampStopsWhenTooManyAreRefusedAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run(t, h.newProjector(t, 30))
	h.receive(t, refused(t, 0, 100, true)...)
	h.await(t)
	p := h.newProjector(t, 30)
	total, err := p.Retry(t.Context(), "test", "", Selection{}, 0.5, nil)
	if !errors.Is(err, ErrRefusedAgain) || total != (Outcome{Refused: 1}) {
		t.Errorf("%+v, %v", total, err)
	}
	total, err = p.Retry(t.Context(), "test", "", Selection{From: 50, To: 70}, 1, nil)
	if err != nil || total != (Outcome{Refused: 21}) {
		t.Errorf("%+v, %v", total, err)
	}
}

func TestARampLeavesOutWhatAReplayWouldDecideOtherwise(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	stop := h.run(t, h.strictProjector(t))
	order := mustModel(t)
	order["order_uid"] = "short"
	first := mustJSON(t, order)
	order["track_number"] = "track"
	order["payment"].(map[string]any)["transaction"] = "short"
	order["items"].([]any)[0].(map[string]any)["track_number"] = "track"
	h.receive(t, first, mustJSON(t, order))
	h.await(t)
	stop()
	p := h.newProjector(t, 30)
	h.deploy(t, p)
	h.run(t, p)
	total, err := p.Retry(t.Context(), "test", "", Selection{}, 0, nil)
	if err != nil || total != (Outcome{LeftOut: 1}) {
		t.Errorf("%+v, %v", total, err)
	}
	if got := h.view2(t, `select count(1) from decisions`); got != "0" {
		t.Errorf("%s decisions were made", got)
	}
}
