package query

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderbox/internal/testservers"
)

func bulk(tb testing.TB, s *Server, kind, text string) *http.Response {
	tb.Helper()
	return post(tb, s, "/api/v1/dead-letters/"+kind, text, "Authorization", "Bearer right", "Content-Type", "application/json")
}

type bulkAnswer struct {
	Count   int
	LeftOut int `json:"left_out"`
}

// decided returns which messages decisions of a kind are about, in their order.
func (p *projection) decided(tb testing.TB, kind string) []int64 {
	tb.Helper()
	rows, err := p.pool.Query(tb.Context(), `select position from decisions where kind = $1 order by id`, kind)
	if err != nil {
		tb.Fatal(err)
	}
	positions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		tb.Fatal(err)
	}
	return positions
}

func TestWhatAPreviewCountsIsWhatIsDone(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"retry", "discard"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := newProjection(t)
			s := newDeciding(t, p)
			var want []int64
			for i := range 12 {
				id := p.mustRefuse(t, fmt.Appendf(nil, "payload %d", i), []string{"syntax", "invalid"}[i%2], "[]", nil)
				if i%2 == 1 {
					want = append(want, id)
				}
			}
			body(t, http.StatusAccepted, decide(t, s, want[0], "retry", "")) // is pending
			want = want[1:]
			request := `{"filter": {"reason": "invalid"}, "note": "all of them", "preview": %t, "expect": %d}`
			preview := mustDecode[bulkAnswer](t, http.StatusOK, bulk(t, s, kind, fmt.Sprintf(request, true, len(want))))
			if preview != (bulkAnswer{len(want), 1}) {
				t.Errorf("preview %+v, want %d and 1", preview, len(want))
			}
			before := len(p.decided(t, kind))
			if got := mustDecode[problem](t, http.StatusConflict, bulk(t, s, kind, fmt.Sprintf(request, false, 3))); !strings.HasSuffix(got.Type, ":count-differs") {
				t.Errorf("%+v", got)
			}
			if n := len(p.decided(t, kind)); n != before {
				t.Errorf("%d decisions before anybody agreed to them", n-before)
			}
			done := mustDecode[bulkAnswer](t, http.StatusAccepted, bulk(t, s, kind, fmt.Sprintf(request, false, len(want))))
			if done != preview {
				t.Errorf("done %+v, preview %+v", done, preview)
			}
			if got := p.decided(t, kind)[before:]; !slices.Equal(got, want) {
				t.Errorf("decided about %v, want %v, the oldest first", got, want)
			}
			again := mustDecode[bulkAnswer](t, http.StatusAccepted, bulk(t, s, kind, `{"filter": {"reason": "invalid"}, "note": "x"}`))
			if again != (bulkAnswer{0, len(want) + 1}) {
				t.Errorf("a double click: %+v", again)
			}
		})
	}
}

func TestADetachedMessageHoldsUpNoDecisionAboutOthers(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newDeciding(t, p)
	var ids []int64
	for i := range 3 {
		ids = append(ids, p.mustRefuse(t, fmt.Appendf(nil, "payload %d", i), "invalid", "[]", nil))
	}
	if _, err := testservers.Open(t, p.AdminURL, 1).Exec(t.Context(), `delete from inbox where position = $1`, ids[1]); err != nil {
		t.Fatal(err)
	}
	if code := decide(t, s, ids[1], "retry", "").StatusCode; code != http.StatusNotFound {
		t.Errorf("a decision about it: %d", code)
	}
	done := mustDecode[bulkAnswer](t, http.StatusAccepted, bulk(t, s, "discard", `{"filter": {"reason": "invalid"}, "note": "all of them"}`))
	if done != (bulkAnswer{2, 0}) {
		t.Errorf("done %+v", done)
	}
}

func TestBulkTakesThoseThatAreNamedAndWhatWasDiscarded(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newDeciding(t, p)
	var ids []int64
	for i := range 5 {
		ids = append(ids, p.mustRefuse(t, fmt.Appendf(nil, "number %d of <b>", i), "syntax", "[]", nil))
	}
	named := fmt.Sprintf(`{"filter": {"ids": [%d, %d, 9999]}, "note": "x"}`, ids[1], ids[3])
	if got := mustDecode[bulkAnswer](t, http.StatusAccepted, bulk(t, s, "discard", named)); got.Count != 2 {
		t.Errorf("discarded %+v", got)
	}
	p.mustApply(t)
	if got := mustDecode[bulkAnswer](t, http.StatusOK, bulk(t, s, "retry", strings.Replace(named, `"note"`, `"preview": true, "note"`, 1))); got != (bulkAnswer{0, 2}) {
		t.Errorf("retry what was discarded: %+v", got)
	}
	if got := mustDecode[bulkAnswer](t, http.StatusAccepted, bulk(t, s, "reopen", `{"filter": {"text": "3 of <b>"}}`)); got != (bulkAnswer{1, 0}) {
		t.Errorf("reopened %+v", got)
	}
	if got := p.decided(t, "reopen"); !slices.Equal(got, ids[3:4]) {
		t.Errorf("reopened %v, want %v", got, ids[3:4])
	}
	if got := mustDecode[bulkAnswer](t, http.StatusOK, bulk(t, s, "retry", `{"filter": {"ids": []}, "preview": true}`)); got != (bulkAnswer{}) {
		t.Errorf("nobody was named: %+v", got)
	}
}

func TestBulkSaysWhatIsWrongWithARequest(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newDeciding(t, p)
	p.mustRefuse(t, []byte("x"), "syntax", "[]", nil)
	for request, says := range map[string]string{
		``: "filter", `{}`: "filter", `{"note": "x"}`: "filter", `{"filter": {"raeson": "x"}}`: "JSON", `{"filter": {"state": "x"}, "note": "x"}`: "state",
		`{"filter": {}}`: "note", `{"filter": {"since": "yesterday"}, "note": "x"}`: "JSON", `{"filter": {"place": "x"}, "note": "x"}`: "JSON Pointer",
		`{"filter": {"text": "\u0000"}, "note": "x"}`: "characters", `{"filter": {"reason": "sintax"}, "note": "x"}`: "reason",
	} {
		got := mustDecode[problem](t, http.StatusBadRequest, bulk(t, s, "discard", request))
		if !strings.Contains(got.Detail, says) || got.Fix == "" {
			t.Errorf("%s: %+v", request, got)
		}
	}
	body(t, http.StatusRequestEntityTooLarge, bulk(t, s, "discard", strings.Repeat(" ", 1<<20+1)))
	if n := len(p.decided(t, "discard")); n != 0 {
		t.Errorf("%d decisions", n)
	}
}

func TestBulkIsCutIntoTransactions(t *testing.T) {
	t.Parallel()
	var letters []standing
	for i := range 2500 {
		letters = append(letters, standing{id: int64(i + 1)})
	}
	letters[10].size, letters[11].size, letters[12].size = chunkBytes+1, chunkBytes, 1
	var sizes []int
	var all []int64
	for chunk := range inChunks(letters) {
		sizes, all = append(sizes, len(chunk)), append(all, chunk...)
	}
	if !slices.Equal(sizes, []int{10, 1, 1, 1000, 1000, 488}) || len(all) != 2500 || !slices.IsSorted(all) {
		t.Errorf("chunks of %v", sizes)
	}
	for range inChunks(nil) {
		t.Error("a chunk of nothing")
	}
}

// Of those that mustSeed makes, nine of ten are open.
func TestBulkDoesManyAndRefusesTooMany(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newDeciding(t, p)
	p.mustSeed(t, 2300, 0)
	if got := mustDecode[bulkAnswer](t, http.StatusAccepted, bulk(t, s, "retry", `{"filter": {}}`)); got != (bulkAnswer{2070, 0}) {
		t.Errorf("%+v", got)
	}
	if got := p.decided(t, "retry"); len(got) != 2070 || !slices.IsSorted(got) {
		t.Errorf("%d decisions", len(got))
	}
	p.mustSeed(t, maxBulk, 10_000)
	for _, preview := range []bool{true, false} {
		got := mustDecode[problem](t, http.StatusConflict, bulk(t, s, "discard", fmt.Sprintf(`{"filter": {"state": "any"}, "note": "x", "preview": %t}`, preview)))
		if !strings.HasSuffix(got.Type, ":too-many") || !strings.Contains(got.Fix, "replay") {
			t.Errorf("%+v", got)
		}
	}
}
