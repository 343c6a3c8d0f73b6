package query

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Ramp says which open dead letters to retry, in waves of 1, 2, 5, 10 and so on, each after the verdicts of the
// one before.
type Ramp struct {
	Reason string     `json:"reason"` // empty: any
	Place  *string    `json:"place"`  // a JSON Pointer with * for the number of an entry; empty: the message as a whole
	Since  *time.Time `json:"since"`  // received then or later
	Until  *time.Time `json:"until"`  // received before
	Text   string     `json:"text"`   // the payload holds its bytes
	From   int64      `json:"from"`   // positions; 0 is no bound
	To     int64      `json:"to"`
	IDs    []int64    `json:"ids"`
	Note   string     `json:"note"`
	// MaxRefused is the share of all that was retried, 0 to 1, above which it stops by itself.
	MaxRefused float64 `json:"max_refused"`
	// DryRun only says what would become of them.
	DryRun bool `json:"dry_run"`
}

// Wave is what became of all dead letters up to a wave. Each is in one number.
type Wave struct {
	Orders     int64 `json:"orders"`
	Duplicates int64 `json:"duplicates"`
	Refused    int64 `json:"refused"` // again
	// LeftOut are not retried, for a replay would decide otherwise.
	LeftOut int64 `json:"left_out"`
}

// Retried is how many were.
func (w Wave) Retried() int64 { return w.Orders + w.Duplicates + w.Refused }

// ramped is what came of a Ramp so far.
type ramped struct {
	Ramp
	// Waves are the latest, of which each counts what was before it as well.
	Waves []Wave `json:"waves"`
	Count int    `json:"wave_count"`
}

const (
	// maxWavesShown bounds the waves that are kept.
	maxWavesShown = 20
	// defaultMaxRefused is half, as on the command line.
	defaultMaxRefused = 0.5
)

// check returns a problem when no dead letter could be meant.
func (r Ramp) check() error {
	f := filter{Reason: r.Reason, State: stateOpen, Place: r.Place, Since: r.Since, Until: r.Until, Text: r.Text}
	if err := f.check(); err != nil {
		return err
	}
	switch {
	case r.From < 0 || r.To < 0 || r.To > 0 && r.To < r.From:
		return badRequest("No position is in the range.", "Begin with the lower one; leave out what is no bound.")
	case len(r.IDs) > maxBulk:
		return badRequest("These are too many ids.", "Select them by reason, place or range.")
	case !(r.MaxRefused >= 0 && r.MaxRefused <= 1):
		return badRequest("The share that may be refused again is not from 0 to 1.", "Leave it out for a half.")
	}
	return checkNote(kindRetry, r.Note)
}

// rampByBody begins a ramp that is described by JSON.
func (s *Server) rampByBody(w http.ResponseWriter, r *http.Request, by string) error {
	ramp := Ramp{MaxRefused: defaultMaxRefused}
	if err := readJSON(w, r, &ramp); err != nil {
		return err
	}
	return s.ramp(ramp, by)
}

// rampNames are the parameters that say which open dead letters are meant; a link to the form may set them.
var rampNames = slices.DeleteFunc(slices.Clone(filterNames), func(name string) bool { return name == "state" })

// rampByForm begins one that is described by a form.
func (s *Server) rampByForm(w http.ResponseWriter, r *http.Request, by string) error {
	p, err := parseForm(w, r, maxForm+3*maxNote+3*maxSearchText, append(slices.Clone(rampNames), "from", "to", "note", "percent", "dry_run")...)
	if err != nil {
		return err
	}
	f, err := p.ofForm().filter()
	if err != nil {
		return err
	}
	ramp := Ramp{Reason: f.Reason, Place: f.Place, Since: f.Since, Until: f.Until, Text: f.Text, Note: p.text("note"), DryRun: p.text("dry_run") != ""}
	for name, to := range map[string]*int64{"from": &ramp.From, "to": &ramp.To} {
		if text := p.text(name); text != "" {
			if *to, err = strconv.ParseInt(text, 10, 64); err != nil {
				return badRequest("The position in "+name+" is not a number.", "Leave it out for no bound.")
			}
		}
	}
	percent, err := strconv.ParseFloat(p.text("percent"), 64)
	if err != nil {
		return badRequest("The share that may be refused again is not a number.", "Write it in percent, from 0 to 100.")
	}
	ramp.MaxRefused = percent / 100
	return s.ramp(ramp, by)
}

func (s *Server) ramp(ramp Ramp, by string) error {
	if err := ramp.check(); err != nil {
		return err
	}
	return s.ramped.start(by, func(ctx context.Context, tell func(func(*report[ramped]))) error {
		so := ramped{Ramp: ramp}
		say := func() {
			shown := so
			shown.Waves = append([]Wave{}, so.Waves...)
			tell(func(r *report[ramped]) { r.Result = &shown })
		}
		say()
		return s.o.Replays.Ramp(ctx, by, ramp, func(w Wave) {
			so.Count++
			if so.Waves = append(so.Waves, w); len(so.Waves) > maxWavesShown {
				so.Waves = so.Waves[1:]
			}
			say()
		})
	})
}

func (s *Server) cancelRamp(http.ResponseWriter, *http.Request, string) error {
	if !s.ramped.cancel() {
		return Refusal{"No dead letters are being retried in waves."}
	}
	return nil
}
