package projector

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"orderbox/internal/testservers"
)

// Law 4: whatever came, in whatever order, by whichever schemas and decisions, the log and the rules give the
// same rows again. Every round is another log; a failing one names its seed.
func TestAnyLogGivesTheSameRowsAgain(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.live(t, rand.New(rand.NewPCG(seed, 4)))
			h.await(t)
			if wrong := h.view(t, miscountedSQL); wrong != "" {
				t.Errorf("counted are\n%s", wrong)
			}
			h.mustBeTheSameAgain(t, h.newProjector(t, 7))
		})
	}
}

// Which groups of dead letters are kept, and how many there really are.
const miscountedSQL = `
	select reason, place, state, c.letters as kept, l.letters as real
	from dead_letter_counts as c
	full join (
		select reason, place, state, count(1) as letters
		from dead_letters as d
		join (select position, '*' as place from dead_letters union all select position, place from dead_letter_places) as p using (position)
		where original is null
		group by reason, place, state
	) as l using (reason, place, state)
	where coalesce(c.letters, 0) <> coalesce(l.letters, 0)`

// live lets a random history happen.
func (h *house) live(tb testing.TB, r *rand.Rand) {
	tb.Helper()
	schemas := []*schema{mustSchema(tb), mustStrictSchema(tb)}
	var stop func()
	for range 60 {
		switch n := r.IntN(20); {
		case n == 0 || stop == nil: // a version is deployed, or started again
			if stop != nil {
				stop()
			}
			p := h.newProjector(tb, 1+r.IntN(20))
			p.schema = schemas[r.IntN(2)]
			stop = h.run(tb, p)
		case n == 1:
			h.await(tb)
			if _, err := h.newProjector(tb, 10).Order(tb.Context(), false, false); err != nil {
				tb.Fatal(err)
			}
		case n < 12:
			h.receive(tb, someMessages(tb, r)...)
		default:
			h.decideSomething(tb, r)
		}
	}
	h.mustExec(tb, `select pg_notify('orderbox_inbox', '')`)
	testservers.Eventually(tb, "no replay is under way and all is decided", func() bool {
		return h.view2(tb, `select count(1) from generations where state = 'building'`) == "0" &&
			h.view(tb, `select decision = coalesce((select max(id) from decisions), 0) from checkpoint`) == "true"
	})
}

// someMessages are of few orders, so that they meet: good ones, others of the same order, and refused ones.
func someMessages(tb testing.TB, r *rand.Rand) (payloads [][]byte) {
	for range 1 + r.IntN(10) {
		order := mustModel(tb)
		order["order_uid"] = fmt.Sprint("order-", r.IntN(15))
		if r.IntN(2) == 0 { // one that passes the strict schema as well
			order["order_uid"] = fmt.Sprint("o-", r.IntN(15))
			order["track_number"], order["payment"].(map[string]any)["transaction"] = "t", "t"
			order["items"].([]any)[0].(map[string]any)["track_number"] = "t"
		}
		switch r.IntN(5) {
		case 0:
			order["sm_id"] = r.IntN(3)
		case 1:
			order["sm_id"] = "none"
		case 2:
			payloads = append(payloads, []byte("{"))
		}
		payloads = append(payloads, mustJSON(tb, order))
	}
	return payloads
}

// decideSomething decides about a message that is or was a dead letter.
func (h *house) decideSomething(tb testing.TB, r *rand.Rand) {
	tb.Helper()
	letters := strings.Fields(h.view(tb, `select position from dead_letters where original is null order by position`))
	if len(letters) == 0 {
		return
	}
	letter := letters[r.IntN(len(letters))]
	switch r.IntN(4) {
	case 0:
		h.mustExec(tb, retrySQL, letter)
	case 1:
		h.mustExec(tb, amendSQL, letter, someMessages(tb, r)[0])
	case 2:
		h.mustExec(tb, decideSQL, letter, "discard")
	default:
		h.mustExec(tb, decideSQL, letter, "reopen")
	}
}
