package query

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/static"
)

const replayPath = "/replay"

// replayView is what pages/replay.html reads.
type replayView struct {
	frame
	Offered  bool
	Building bool
	Said     *static.Text // what has just been done

	Generation, InService, Previous, Status string
	Pace                                    *static.Text
	Position, Head                          int64
	Value, Max                              int64 // of the progress

	Changed, Tried errandView
	Waves          wavesView
	Ramp           filterView // what the form begins with
}

// errandView is a report on a page.
type errandView struct {
	State, By, Problem string
	Pace               *static.Text
	Running            bool
	Began, Ended       moment
	Position, Head     int64
	Value, Max         int64 // of the progress; Max is 0 until there is some
	Comparing          bool  // all is projected
	Change             *changeView
}

// wavesView is a ramp on a page.
type wavesView struct {
	errandView
	DryRun   bool
	Selected *static.Text // what was meant
	Note     string
	Lines    []waveLine
	Total    *waveLine
	More     int // waves before the first that is shown
}

// waveLine is a wave and all before it.
type waveLine struct{ Retried, Orders, Duplicates, Refused, LeftOut int64 }

// saidOfReplay is what the page says after something was done.
func saidOfReplay(done string) *static.Text {
	switch done {
	case "order":
		return static.Say("The replay is ordered.")
	case "rollback":
		return static.Say("The previous generation is being brought up to date.")
	case "cancel":
		return static.Say("The replay was given up.")
	case "drop-previous":
		return static.Say("The previous generation was given up.")
	default:
		return nil
	}
}

// replayPage shows how the replay goes and what can be done about it. A link may set the form for dead letters.
func (s *Server) replayPage(w http.ResponseWriter, r *http.Request) error {
	p, err := parseParams(r, append(slices.Clone(rampNames), "done")...)
	if err != nil {
		return err
	}
	view := replayView{frame: s.frame(r, static.Say("Replay")), Said: saidOfReplay(p.text("done"))}
	if s.o.Replays == nil {
		return s.writePage(w, r, http.StatusOK, "replay", view)
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	now, fast, err := s.progress(ctx)
	if err != nil {
		return err
	}
	view.Offered, view.Building = true, now.Generation != ""
	view.Generation, view.InService, view.Previous, view.Status, view.Pace = now.Generation, now.InService, now.Previous, now.Status, fast.text()
	view.Position, view.Head = now.Position, now.Head
	view.Value, view.Max = now.Position, max(1, now.Head)
	view.Changed, view.Tried = newChangeErrand(s.changed.now()), newChangeErrand(s.tried.now())
	view.Waves = newWavesView(s.ramped.now())
	view.Ramp, err = s.rampForm(ctx, p)
	if err != nil {
		return err
	}
	return s.writePage(w, r, http.StatusOK, "replay", view)
}

func (s *Server) rampForm(ctx context.Context, p params) (v filterView, err error) {
	p = p.ofForm()
	f, err := p.filter()
	if err != nil {
		return v, err
	}
	var reasons []string
	err = s.query(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		reasons, err = listReasons(ctx, tx)
		return err
	})
	if errors.Is(err, errNoGeneration) {
		err = nil
	}
	v = p.view(f, reasons)
	v.States = nil // only open ones are meant
	return v, err
}

func newErrandView[T any](r report[T]) errandView {
	v := errandView{State: r.State, By: r.By, Problem: r.Problem, Pace: r.pace.text(), Running: r.State == errandRunning,
		Position: r.Position, Head: r.Head,
		Value: r.Position, Max: r.Head, Comparing: r.Head > 0 && r.Position >= r.Head}
	if r.Began != nil {
		v.Began = newMoment(*r.Began, r.Began.Format(time.RFC3339))
	}
	if r.Ended != nil {
		v.Ended = newMoment(*r.Ended, r.Ended.Format(time.RFC3339))
	}
	return v
}

func newChangeErrand(r report[Change]) errandView {
	v := newErrandView(r)
	v.Change = newChangeView(r.Result)
	return v
}

func newWavesView(r report[ramped]) wavesView {
	v := wavesView{errandView: newErrandView(r)}
	if r.Result == nil {
		return v
	}
	v.DryRun, v.Note, v.Selected = r.Result.DryRun, r.Result.Note, r.Result.selected()
	v.More = r.Result.Count - len(r.Result.Waves)
	for _, wave := range r.Result.Waves {
		v.Lines = append(v.Lines, newWaveLine(wave))
	}
	if n := len(v.Lines); n > 0 && r.Result.Waves[n-1] != (Wave{}) {
		v.Total = &v.Lines[n-1]
	}
	slices.Reverse(v.Lines) // the latest first: that is where somebody looks
	return v
}

func newWaveLine(w Wave) waveLine {
	return waveLine{Retried: w.Retried(), Orders: w.Orders, Duplicates: w.Duplicates, Refused: w.Refused, LeftOut: w.LeftOut}
}

// selected says which dead letters are meant.
func (r Ramp) selected() *static.Text {
	parts := []*static.Text{static.Say("open dead letters")}
	add := func(part *static.Text) { parts = append(parts, part) }
	if r.Reason != "" {
		add(static.Say("with the reason %s", r.Reason))
	}
	switch {
	case r.Place != nil && *r.Place == "":
		add(static.Say("that fail as a whole"))
	case r.Place != nil:
		add(static.Say("that fail at %s", *r.Place))
	}
	if r.Text != "" {
		add(static.Say("whose text has %s", strconv.Quote(r.Text)))
	}
	if r.Since != nil {
		add(static.Say("received since %s", *r.Since))
	}
	if r.Until != nil {
		add(static.Say("received before %s", *r.Until))
	}
	if r.From > 0 {
		add(static.Say("from position %s", strconv.FormatInt(r.From, 10)))
	}
	if r.To > 0 {
		add(static.Say("up to position %s", strconv.FormatInt(r.To, 10)))
	}
	if len(r.IDs) > 0 {
		add(static.Say("with one of %s", static.Count{N: int64(len(r.IDs)), Noun: "id"}))
	}
	return static.Join(parts...)
}

// backToReplay sends a browser back to the page, which says what was done, or to a part of it.
func backToReplay(done, part string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		address := replayPath
		if done != "" {
			address += "?done=" + done
		}
		if part != "" {
			address += "#" + part
		}
		http.Redirect(w, r, address, http.StatusSeeOther)
		return nil
	}
}
