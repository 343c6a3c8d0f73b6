package query

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/static"
)

const (
	// verdictWait is how long a page waits for the projector, so that it can show what became of a decision.
	verdictWait = 2 * time.Second
	verdictPoll = 50 * time.Millisecond
	// maxAmendForm is the largest form with an amendment: each of its bytes may take three.
	maxAmendForm = 3*maxPayload + 64<<10
)

// decidePage returns the handler of a form about one dead letter. It sends the browser back to the dead
// letter's page, which says what was done.
func (s *Server) decidePage(kind string) func(http.ResponseWriter, *http.Request, string) error {
	return func(w http.ResponseWriter, r *http.Request, by string) error {
		id, err := deadLetterID(r)
		if err != nil {
			return err
		}
		limit, allowed := int64(maxForm+3*maxNote), []string{"note"}
		if kind == kindAmend {
			limit, allowed = maxAmendForm, append(allowed, "payload")
		}
		p, err := parseForm(w, r, limit, allowed...)
		if err != nil {
			return err
		}
		if err := checkNote(kind, p.text("note")); err != nil {
			return err
		}
		// A browser sends each line break as two characters, whichever it was shown.
		payload := []byte(strings.ReplaceAll(p.text("payload"), "\r\n", "\n"))
		if _, err := s.decide(r.Context(), kind, by, p.text("note"), id, payload); err != nil {
			return err
		}
		s.awaitVerdict(r.Context(), id)
		http.Redirect(w, r, letterLink(id)+"?done="+kind, http.StatusSeeOther)
		return nil
	}
}

// awaitVerdict returns when the last decision about a dead letter has been applied, or after verdictWait. An
// error ends the waiting and no more: the decision is recorded.
func (s *Server) awaitVerdict(ctx context.Context, id int64) {
	ctx, cancel := context.WithTimeout(ctx, verdictWait)
	defer cancel()
	tick := time.NewTicker(verdictPoll)
	defer tick.Stop()
	for {
		var history []decision
		err := s.query(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			history, err = readHistory(ctx, tx, id)
			return err
		})
		if n := len(history); err != nil || n == 0 || history[n-1].Outcome != outcomePending {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// said confirms a decision about one.
func said(h decision) *static.Text {
	switch h.Outcome {
	case outcomePending:
		return static.Say("%s. The verdict is not there yet: load this page again in a moment.", done[h.Kind])
	case outcomeOrder:
		return static.Say("%s: it made an order.", done[h.Kind])
	case outcomeDuplicate:
		return static.Say("%s: it is the same as an order that was there.", done[h.Kind])
	case outcomeDeadLetter:
		return static.Say("%s, and refused again.", done[h.Kind])
	}
	return static.Say("%s.", done[h.Kind])
}

// said confirms a decision about many, of which the address says what it was; nothing when it says nothing.
func (p params) said() *static.Text {
	count, err := strconv.ParseUint(p.text("count"), 10, 32)
	what, known := done[p.text("done")]
	if err != nil || !known {
		return nil
	}
	text := static.Say("%s: %s.", what, int64(count))
	if p.text("done") == kindRetry || p.text("done") == kindAmend {
		text = static.Join(text, static.Say("Those that are still open were refused again, or have yet to be judged."))
	}
	return text
}
