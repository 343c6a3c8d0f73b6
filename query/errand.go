package query

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// The states of an errand.
const (
	errandNone      = "none"
	errandRunning   = "running"
	errandDone      = "done"
	errandFailed    = "failed" // problem says why
	errandCancelled = "cancelled"
)

// maxErrands is above what can have been started and not yet begun: one of each kind.
const maxErrands = 8

// errand is something that takes long and that an operator starts: in the background, one of its kind at a
// time, for as long as the server runs. What came of the last one is kept in memory until the next one begins.
type errand[T any] struct {
	starts chan<- func(context.Context) // to Run
	log    *slog.Logger

	mu     sync.Mutex
	number int // of the latest one
	report report[T]
	began  time.Time // as the report's, but not moved by a clock that jumps
	stop   context.CancelFunc
}

// report is how an errand goes, or what came of it.
type report[T any] struct {
	State    string     `json:"state"`
	By       string     `json:"by,omitempty"`
	Began    *time.Time `json:"began,omitempty"`
	Ended    *time.Time `json:"ended,omitempty"`
	Position int64      `json:"position,omitempty"` // in the log
	Head     int64      `json:"head,omitempty"`     // at which it will be done
	pace
	Problem string `json:"problem,omitempty"`
	Result  *T     `json:"result,omitempty"`
}

func newErrand[T any](starts chan<- func(context.Context), log *slog.Logger) *errand[T] {
	return &errand[T]{starts: starts, log: log, report: report[T]{State: errandNone}}
}

// now is how it goes.
func (e *errand[T]) now() report[T] {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.report
	if r.State == errandRunning {
		r.pace = newPace(r.Position, r.Head, time.Since(e.began))
	}
	return r
}

// start begins one, unless one is under way. do runs until it is done or ctx ends, and tells how it goes by
// changing the report.
func (e *errand[T]) start(by string, do func(ctx context.Context, tell func(func(*report[T]))) error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.report.State == errandRunning {
		return Refusal{"One is under way already, for " + e.report.By + ". Wait for it, or cancel it."}
	}
	number := e.number + 1
	running, stop := context.WithCancel(context.Background())
	task := func(ctx context.Context) {
		defer stop()
		defer context.AfterFunc(ctx, stop)()
		err := do(running, func(change func(*report[T])) { e.change(number, change) })
		e.change(number, func(r *report[T]) { e.end(running, r, err) })
	}
	select {
	case e.starts <- task:
	default:
		stop()
		return unavailable("The service is only starting, or is stopping.")
	}
	e.began = time.Now()
	began := e.began.UTC()
	e.number, e.stop, e.report = number, stop, report[T]{State: errandRunning, By: by, Began: &began}
	return nil
}

// change changes the report of an errand that was not forgotten.
func (e *errand[T]) change(number int, change func(*report[T])) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if number == e.number && e.report.State == errandRunning {
		change(&e.report)
	}
}

func (e *errand[T]) end(running context.Context, r *report[T], err error) {
	ended := time.Now().UTC()
	r.Ended = &ended
	refusal, refused := errors.AsType[Refusal](err)
	switch {
	case err == nil:
		r.State = errandDone
	case running.Err() != nil:
		r.State = errandCancelled
	case refused:
		r.State, r.Problem = errandFailed, refusal.Reason
	case databaseAway(err):
		r.State, r.Problem = errandFailed, "The database did not answer. Begin again when it does."
	default:
		r.State, r.Problem = errandFailed, "Something went wrong here; the service's log says why."
		e.log.Error("an operator's errand failed", "error", err)
	}
}

// cancel ends the one that is under way, and says whether there was one. It is over when its report says so.
func (e *errand[T]) cancel() (was bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.report.State != errandRunning {
		return false
	}
	e.stop()
	return true
}

// forget cancels what is under way and makes room for the next one at once.
func (e *errand[T]) forget() {
	e.cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.number++
	e.report = report[T]{State: errandNone}
}

// runErrands runs what operators start until ctx ends, and returns when all of it has ended.
func (s *Server) runErrands(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case task := <-s.starts:
			group.Go(func() { task(ctx) })
		}
	}
}
