package query

import (
	"context"
	"errors"
	"net/http"
)

// Replays is what an operator may do about full replays. Each function is called for a request of it,
// concurrently; an error that is a Refusal is told as it is.
type Replays struct {
	// Order has the next generation built and put in service, RollBack the previous one brought up to date
	// and put in service again. They return its name at once.
	Order, RollBack func(ctx context.Context) (generation string, err error)
	// Cancel gives up what is being built, DropPrevious drops what could be gone back to. They say whether
	// there was one.
	Cancel, DropPrevious func(ctx context.Context) (was bool, err error)
	// Progress says how it goes.
	Progress func(ctx context.Context) (Replay, error)
}

// Replay is how a replay goes.
type Replay struct {
	Generation string `json:"generation"` // being built; empty when none is
	Position   int64  `json:"position"`   // up to which it is projected
	Head       int64  `json:"head"`       // the log's newest position
	Status     string `json:"status"`     // what there is to say, such as that it was slowed down
	InService  string `json:"in_service"`
	Previous   string `json:"previous"` // to go back to; empty when there is none
}

// Refusal says that what was asked cannot be done now, in words for the operator.
type Refusal struct{ Reason string }

func (r Refusal) Error() string { return r.Reason }

// replayJSON says how a replay goes.
func (s *Server) replayJSON(w http.ResponseWriter, r *http.Request) error {
	if s.o.Replays == nil {
		return noReplays()
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	progress, err := s.o.Replays.Progress(ctx)
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, typeJSON, progress)
}

// replayAction does something about replays and answers with how it goes then.
func (s *Server) replayAction(do func(ctx context.Context, replays *Replays) error) handler {
	return s.replaying(do, s.replayJSON)
}

// replaying does something about replays for an operator, and then answers.
func (s *Server) replaying(do func(ctx context.Context, replays *Replays) error, answer handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		by, err := s.authenticate(w, r)
		if err != nil {
			return err
		}
		if s.o.Replays == nil {
			return noReplays()
		}
		ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
		defer cancel()
		if err := do(ctx, s.o.Replays); err != nil {
			if refusal, ok := errors.AsType[Refusal](err); ok {
				return newProblem(http.StatusConflict, "refused", "This cannot be done now", refusal.Reason, "Look at how the replay goes.")
			}
			return err
		}
		s.log.Info("replay", "asked", r.URL.Path, "by", by)
		return answer(w, r)
	}
}

func noReplays() error {
	return notFound("This service takes no orders for replays.", "Ask one that runs as the role orderbox.")
}

func orderReplay(ctx context.Context, replays *Replays) error {
	_, err := replays.Order(ctx)
	return err
}

func rollBackReplay(ctx context.Context, replays *Replays) error {
	_, err := replays.RollBack(ctx)
	return err
}

func cancelReplay(ctx context.Context, replays *Replays) error {
	was, err := replays.Cancel(ctx)
	if err == nil && !was {
		err = Refusal{"No replay is under way."}
	}
	return err
}

func dropPrevious(ctx context.Context, replays *Replays) error {
	was, err := replays.DropPrevious(ctx)
	if err == nil && !was {
		err = Refusal{"There is no previous generation."}
	}
	return err
}
