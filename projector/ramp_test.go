package projector

import (
	"errors"
	"fmt"
	"testing"
	"time"
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

// What is meant is what all that is given holds for, and a text is found wherever it is.
func TestARampIsAboutWhatIsSelected(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run(t, h.newProjector(t, 30))
	h.receive(t, refused(t, 0, 2*maxSearched, true)...)
	h.receive(t, []byte("{\"order_uid\": \"order-7"), []byte("\xff\x00ж"))
	h.await(t)
	h.mustExec(t, `update generation_1.dead_letters set received_at = to_timestamp(position)`)
	p := h.newProjector(t, 30)
	first, last := time.Unix(10, 0), time.Unix(20, 0)
	whole, field, nowhere := "", "/sm_id", "/entry"
	for name, c := range map[string]struct {
		s    Selection
		want int64
	}{
		"a text":                 {Selection{Text: `"order-150"`}, 1},
		"a text of many":         {Selection{Text: `"order-1`}, 111},
		"a text of few":          {Selection{Text: `order-7`}, 12},
		"a text among bytes":     {Selection{Text: "ж"}, 1},
		"no such text":           {Selection{Text: "order-x"}, 0},
		"a text of some":         {Selection{Text: `order-7`, Reason: "malformed"}, 1},
		"since":                  {Selection{Since: &last}, 2*maxSearched + 2 - 19},
		"until":                  {Selection{Until: &first}, 9},
		"a while":                {Selection{Since: &first, Until: &last}, 10},
		"a text within a while":  {Selection{Since: &first, Until: &last, Text: `"order-1`}, 9},
		"the message as a whole": {Selection{Place: &whole}, 2},
		"a place":                {Selection{Place: &field}, 2 * maxSearched},
		"another place":          {Selection{Place: &nowhere}, 0},
	} {
		if o, err := p.Predict(t.Context(), c.s); err != nil || o != (Outcome{Refused: c.want}) {
			t.Errorf("%s: %+v, %v; want %d", name, o, err, c.want)
		}
	}
	if o, err := p.Retry(t.Context(), "test", "", Selection{Text: `order-7`}, 1, nil); err != nil || o != (Outcome{Refused: 12}) {
		t.Errorf("retried %+v, %v", o, err)
	}
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
