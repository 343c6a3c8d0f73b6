package query

import (
	"context"
	"math/big"
	"net/http"
)

const replayPath = "/replay"

// replayView is what pages/replay.html reads.
type replayView struct {
	frame
	Offered  bool
	Building bool
	Said     string // what has just been done

	Generation, InService, Previous, Status string
	Position, Head                          string
	Value, Max                              int64 // of the progress
}

// saidOfReplay is what the page says after something was done.
func saidOfReplay(done string) string {
	switch done {
	case "order":
		return "The replay is ordered."
	case "rollback":
		return "The previous generation is being brought up to date."
	case "cancel":
		return "The replay was given up."
	case "drop-previous":
		return "The previous generation was given up."
	default:
		return ""
	}
}

// replayPage shows how the replay goes and what can be done about it.
func (s *Server) replayPage(w http.ResponseWriter, r *http.Request) error {
	p, err := parseParams(r, "done")
	if err != nil {
		return err
	}
	view := replayView{frame: frame{Title: "Replay", Operator: s.asker(r)}, Said: saidOfReplay(p.text("done"))}
	if s.o.Replays == nil {
		return s.writePage(w, r, http.StatusOK, "replay", view)
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	now, err := s.o.Replays.Progress(ctx)
	if err != nil {
		return err
	}
	view.Offered, view.Building = true, now.Generation != ""
	view.Generation, view.InService, view.Previous, view.Status = now.Generation, now.InService, now.Previous, now.Status
	view.Position, view.Head = grouped(big.NewInt(now.Position)), grouped(big.NewInt(now.Head))
	view.Value, view.Max = now.Position, max(1, now.Head)
	return s.writePage(w, r, http.StatusOK, "replay", view)
}

// replayForm does something about replays and goes back to the page.
func (s *Server) replayForm(what string, do func(ctx context.Context, replays *Replays) error) handler {
	return s.replaying(do, func(w http.ResponseWriter, r *http.Request) error {
		http.Redirect(w, r, replayPath+"?done="+what, http.StatusSeeOther)
		return nil
	})
}
