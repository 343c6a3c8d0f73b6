package query

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Replays is what an operator may do about replays. Each function is called for a request of it, or in the
// background, concurrently; an error that is a Refusal is told as it is.
type Replays struct {
	// Order has the next generation built and put in service, RollBack the previous one brought up to date
	// and put in service again. They return its name at once.
	Order, RollBack func(ctx context.Context) (generation string, err error)
	// Cancel gives up what is being built, DropPrevious drops what could be gone back to. They say whether
	// there was one.
	Cancel, DropPrevious func(ctx context.Context) (was bool, err error)
	// Progress says how it goes.
	Progress func(ctx context.Context) (Replay, error)

	// Try prepares to say what a replay by a JSON Schema would change; nil is this program's. run says it,
	// which takes as long as a replay. It is called once at a time, and nothing is left when it returns.
	Try func(schema []byte) (run func(ctx context.Context, progress func(position, head int64)) (Change, error), err error)
	// Changed says what the generation in service changed against the previous one.
	Changed func(ctx context.Context) (Change, error)
	// Ramp retries open dead letters in waves, in the name of an operator. It is called once at a time.
	Ramp func(ctx context.Context, by string, r Ramp, wave func(Wave)) error
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

// progress is how a replay goes, and how fast.
func (s *Server) progress(ctx context.Context) (now Replay, fast pace, err error) {
	if now, err = s.o.Replays.Progress(ctx); err == nil && now.Generation != "" {
		fast = s.pacer.see(now.Generation, now.Position, now.Head, time.Now())
	}
	return now, fast, err
}

// replayJSON says how a replay goes.
func (s *Server) replayJSON(w http.ResponseWriter, r *http.Request) error {
	if s.o.Replays == nil {
		return noReplays()
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	now, fast, err := s.progress(ctx)
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, typeJSON, struct {
		Replay
		pace
	}{now, fast})
}

// replaying does something about replays for an operator, and then answers.
func (s *Server) replaying(do func(w http.ResponseWriter, r *http.Request, by string) error, answer handler) handler {
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
		if err := do(w, r.WithContext(ctx), by); err != nil {
			if refusal, ok := errors.AsType[Refusal](err); ok {
				return newProblem(http.StatusConflict, "refused", "This cannot be done now", refusal.Reason, "Look at how the replay goes.")
			}
			return err
		}
		s.log.Info("replay", "asked", r.URL.Path, "by", by)
		return answer(w, r)
	}
}

// reportJSON answers with how an errand goes, or what came of it.
func reportJSON[T any](e *errand[T], status int) handler {
	return func(w http.ResponseWriter, _ *http.Request) error { return sendJSON(w, status, typeJSON, e.now()) }
}

func noReplays() error {
	return notFound("This service takes no orders for replays.", "Ask one that runs as the role orderbox.")
}

func (s *Server) orderReplay(_ http.ResponseWriter, r *http.Request, by string) error {
	generation, err := s.o.Replays.Order(r.Context())
	return s.follow(generation, by, err)
}

func (s *Server) rollBackReplay(_ http.ResponseWriter, r *http.Request, by string) error {
	generation, err := s.o.Replays.RollBack(r.Context())
	return s.follow(generation, by, err)
}

// follow has the generation watched that was ordered, so that there is word of what it changed.
func (s *Server) follow(generation, by string, err error) error {
	if err != nil {
		return err
	}
	s.changed.forget() // what an earlier one changed
	return s.changed.start(by, func(ctx context.Context, tell func(func(*report[Change]))) error {
		return s.awaitReplay(ctx, generation, tell)
	})
}

// replayPoll is how often the progress of a replay is asked for.
const replayPoll = time.Second

// awaitReplay waits until a generation is in service, for as long as the database takes to come back, and then
// says what it changed.
func (s *Server) awaitReplay(ctx context.Context, generation string, tell func(func(*report[Change]))) error {
	tick := time.NewTicker(replayPoll)
	defer tick.Stop()
	for {
		now, err := s.o.Replays.Progress(ctx)
		switch {
		case err != nil && !databaseAway(err):
			return err
		case err == nil && now.InService == generation:
			return s.sayWhatChanged(ctx, tell)
		case err == nil && now.Generation != generation:
			return Refusal{"The replay was given up, or ordered anew."}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (s *Server) sayWhatChanged(ctx context.Context, tell func(func(*report[Change]))) error {
	change, err := s.o.Replays.Changed(ctx)
	if err == nil {
		tell(func(r *report[Change]) { r.Result = &change })
	}
	return err
}

// compareReplay says what the last replay changed, when nobody watched it.
func (s *Server) compareReplay(_ http.ResponseWriter, _ *http.Request, by string) error {
	return s.changed.start(by, s.sayWhatChanged)
}

func (s *Server) cancelReplay(_ http.ResponseWriter, r *http.Request, _ string) error {
	was, err := s.o.Replays.Cancel(r.Context())
	if err == nil && !was {
		err = Refusal{"No replay is under way."}
	}
	return err
}

func (s *Server) dropPrevious(_ http.ResponseWriter, r *http.Request, _ string) error {
	was, err := s.o.Replays.DropPrevious(r.Context())
	if err == nil && !was {
		err = Refusal{"There is no previous generation."}
	}
	return err
}
