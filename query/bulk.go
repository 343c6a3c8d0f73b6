package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// maxBulk bounds the dead letters that one request is about, and searches.
	maxBulk = 100_000
	// bulkTimeout is how long a decision about all of them may take: reading their payloads, and entering
	// them once more.
	bulkTimeout = 2 * time.Minute
	// chunkLetters and chunkBytes bound what is decided in one transaction, for which appenders wait.
	chunkLetters = 1000
	chunkBytes   = 16 << 20
)

// bulkRequest is a decision about all dead letters that a filter means.
type bulkRequest struct {
	Filter  *filter `json:"filter"`
	Note    string  `json:"note"`
	Preview bool    `json:"preview"` // only count
	Expect  *int    `json:"expect"`  // do nothing unless it is about so many
	// Patch says how to amend each (RFC 6902), for an amendment.
	Patch json.RawMessage `json:"patch"`

	patch *patch
}

// check completes a request for a kind of decision, or returns a problem.
func (b *bulkRequest) check(kind string) error {
	if b.Filter == nil {
		return badRequest("There is no filter.", `Say which dead letters are meant: {"filter": {"reason": "…"}}, or {"filter": {}} for all that it makes sense for.`)
	}
	if b.Filter.State == "" {
		switch {
		case b.Filter.IDs != nil:
			b.Filter.State = stateAny
		case kind == kindReopen:
			b.Filter.State = stateDiscarded
		default:
			b.Filter.State = stateOpen
		}
	}
	if err := b.Filter.check(); err != nil {
		return err
	}
	switch {
	case kind == kindAmend:
		var err error
		if b.patch, err = parsePatch(b.Patch); err != nil {
			return err
		}
	case b.Patch != nil:
		return badRequest("Only an amendment takes a patch.", "Leave it out, or send it to /api/v1/dead-letters/amend.")
	}
	if b.Preview {
		return nil
	}
	return checkNote(kind, b.Note)
}

// bulkResult is what a decision about many was about, or would be.
type bulkResult struct {
	Count   int `json:"count"`
	LeftOut int `json:"left_out"`
	// Unpatched are those that are left out because the patch does not apply: what is no JSON, a test that
	// fails, a place that is not there.
	Unpatched int `json:"unpatched,omitempty"`
	// Passing is how many of them the schema in force lets through as they are amended; of some there may be
	// an order already. Only a preview says so.
	Passing *int `json:"passing,omitempty"`

	last    int64 // the newest of them; 0 for none
	patched patched
}

// bulkJSON returns the handler of one kind of decision about all dead letters that a filter means.
func (s *Server) bulkJSON(kind string) func(http.ResponseWriter, *http.Request, string) error {
	return func(w http.ResponseWriter, r *http.Request, by string) error {
		if _, err := parseParams(r); err != nil {
			return err
		}
		var b bulkRequest
		if err := readJSON(w, r, &b); err != nil {
			return err
		}
		result, err := s.decideBulk(w, r, kind, by, b)
		if err != nil {
			return err
		}
		status := http.StatusAccepted
		if b.Preview {
			status = http.StatusOK
		}
		return sendJSON(w, status, typeJSON, result)
	}
}

// decideBulk takes a decision about all dead letters that a filter means, or counts them. It leaves out
// where the decision makes no sense.
//
// It is done chunk by chunk, the oldest first, each in a transaction. Who is cut off half-way may ask again:
// what was done is left out then.
func (s *Server) decideBulk(w http.ResponseWriter, r *http.Request, kind, by string, b bulkRequest) (result bulkResult, err error) {
	if err := b.check(kind); err != nil {
		return result, err
	}
	// A server without deadlines, in a test, has none to move.
	deadline := time.Now().Add(bulkTimeout + queryTimeout)
	if err := http.NewResponseController(w).SetWriteDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return result, fmt.Errorf("take time to answer: %w", err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), bulkTimeout)
	defer cancel()
	letters, result, err := s.chooseBulk(ctx, kind, b)
	if err != nil {
		return result, err
	}
	if b.Expect != nil && *b.Expect != len(letters) {
		return result, newProblem(http.StatusConflict, "count-differs", "It is not as many as expected",
			fmt.Sprintf("It would be about %d dead letters and not %d. Nothing was done.", len(letters), *b.Expect), "Look at the preview again.")
	}
	if b.Preview {
		return result, nil
	}
	for chunk := range inChunks(letters) {
		if b.patch != nil {
			err = s.amendChunk(ctx, by, b.Note, chunk, b.patch)
		} else {
			_, err = s.pass(ctx, kind, by, b.Note, chunk)
		}
		if err != nil {
			return result, fmt.Errorf("decide about %d dead letters: %w", len(letters), err)
		}
	}
	return result, nil
}

// chooseBulk returns the dead letters that a decision is about, oldest first, and counts them and what is left
// out.
func (s *Server) chooseBulk(ctx context.Context, kind string, b bulkRequest) (letters []standing, result bulkResult, err error) {
	f := *b.Filter
	judge := s.o.Judge
	if !b.Preview {
		judge = nil
	}
	err = inGeneration(ctx, s.primary, func(tx pgx.Tx, _ generation) error {
		ids, err := f.find(ctx, tx, maxPosition, maxBulk+1)
		if err != nil {
			return err
		}
		if len(ids) > maxBulk {
			return newProblem(http.StatusConflict, "too-many", "These are too many for one request",
				fmt.Sprintf("The filter means more than %d dead letters. Nothing was done.", maxBulk),
				"Narrow it, such as by since and until. To decide about all of them, run: orderbox replay.")
		}
		if len(ids) == 0 && f.Reason != "" {
			return checkReason(ctx, tx, f.Reason)
		}
		if f.Text != "" {
			if ids, err = searchAll(ctx, tx, ids, f.Text); err != nil {
				return err
			}
		}
		slices.Reverse(ids)
		for chunk := range slices.Chunk(ids, chunkLetters) {
			found, err := readStandings(ctx, tx, kind, chunk)
			if err != nil {
				return err
			}
			fit := slices.DeleteFunc(slices.Clone(found), func(l standing) bool { return l.objection(kind) != nil })
			if b.patch != nil {
				if err := b.patch.try(ctx, tx, fit, judge, &result.patched); err != nil {
					return err
				}
				patchable := slices.DeleteFunc(slices.Clone(fit), func(l standing) bool { return l.unpatched })
				result.Unpatched += len(fit) - len(patchable)
				fit = patchable
			}
			letters = append(letters, fit...)
			result.LeftOut += len(found) - len(fit)
		}
		return nil
	})
	result.Count, result.Passing = len(letters), result.patched.passing
	if len(letters) > 0 {
		result.last = letters[len(letters)-1].id
	}
	return letters, result, err
}

// searchAll is search without a bound, for ids that are bounded.
func searchAll(ctx context.Context, tx pgx.Tx, ids []int64, text string) (all []int64, err error) {
	for len(ids) > 0 {
		chunk := ids[:min(searchCandidates, len(ids))]
		found, rest, err := search(ctx, tx, chunk, text)
		if err != nil {
			return nil, err
		}
		looked := len(chunk)
		if rest > 0 {
			looked = slices.Index(chunk, rest)
		}
		all, ids = append(all, found...), ids[looked:]
	}
	return all, nil
}

// inChunks yields the ids of dead letters, as many at a time as one transaction takes.
func inChunks(letters []standing) func(yield func([]int64) bool) {
	return func(yield func([]int64) bool) {
		var ids []int64
		size := 0
		for _, l := range letters {
			if len(ids) == chunkLetters || len(ids) > 0 && size+l.size > chunkBytes {
				if !yield(ids) {
					return
				}
				ids, size = nil, 0
			}
			ids, size = append(ids, l.id), size+l.size
		}
		if len(ids) > 0 {
			yield(ids)
		}
	}
}
