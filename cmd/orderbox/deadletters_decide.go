package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"

	"orderbox/internal/cli"
)

// bulkFlags name the dead letters that a decision is about by a filter.
type bulkFlags struct {
	operatorFlags
	filterFlags
	Yes    bool   `help:"Do it to all that the filter finds; without, it is only said how many there are."`
	Expect *int64 `help:"Do nothing unless the filter finds this many." placeholder:"N"`
}

func (b *bulkFlags) filtered() bool { return b.filterFlags != filterFlags{} }

// targetFlags name them each by its id, or all that a filter finds.
type targetFlags struct {
	IDs []int64 `arg:"" optional:"" name:"id" help:"Ids of the dead letters; or give a filter."`
	bulkFlags
}

// Validate keeps a forgotten filter from meaning everything.
func (t *targetFlags) Validate() error {
	switch {
	case !t.filtered() && len(t.IDs) == 0:
		return errors.New("name dead letters by their ids, or by a filter such as --reason or --state")
	case t.filtered() && len(t.IDs) > 0:
		return errors.New("name dead letters by their ids or by a filter, not by both")
	}
	return nil
}

// decided is the service's answer to a decision about one dead letter: the position in the log of the retry
// or the amendment.
type decided struct{ Entry int64 }

// noted is what goes with a decision.
type noted struct {
	Note string `json:"note"`
}

// decision is a kind of decision, in the words of the address and of the report.
type decision struct{ verb, done string }

// bulk is a decision about everything that a filter finds, or the question how many that would be.
type bulk struct {
	Filter  filter          `json:"filter"`
	Note    string          `json:"note"`
	Preview bool            `json:"preview"`
	Expect  *int64          `json:"expect,omitempty"`
	Patch   json.RawMessage `json:"patch,omitempty"`
}

// counted is the answer. What is left out was found, and the decision makes no sense for it as things stand.
type counted struct {
	Count     int64
	LeftOut   int64  `json:"left_out"`
	Unpatched int64  // of those that are left out
	Passing   *int64 // of those that would be amended
}

// all decides about everything that the filter finds, or says what that would be, and returns how many were
// decided about. The patch is that of an amendment.
func (b *bulkFlags) all(ctx context.Context, s cli.Streams, api operatorAPI, d decision, note string, patch json.RawMessage) (done int64, err error) {
	var answer counted
	err = spin(s, func() error {
		return api.post(ctx, deadLettersPath+"/"+d.verb, bulk{b.filter(), note, !b.Yes, b.Expect, patch}, &answer)
	})
	if err != nil {
		return 0, err
	}
	would := "would be "
	if b.Yes {
		would, done = "", answer.Count
	}
	fmt.Fprintf(s.Out, "%s %s%s%s\n", letters(answer.Count), would, d.done, answer.besides())
	if !b.Yes && answer.Count > 0 {
		fmt.Fprintf(s.Err, "nothing was done: the same command with --yes does it, and with --expect %d only while it is as many\n", answer.Count)
	}
	return done, nil
}

// besides says what there is to say beside the count.
func (c counted) besides() (text string) {
	if c.LeftOut > 0 {
		text = fmt.Sprintf(", %d left out", c.LeftOut)
	}
	if c.Unpatched > 0 {
		text += fmt.Sprintf(" (to %d the patch does not apply)", c.Unpatched)
	}
	if c.Passing != nil {
		text += fmt.Sprintf("; the schema in force lets %d through", *c.Passing)
	}
	return text
}

// spin does something that may take long, and shows a person at the terminal that it goes on.
func spin(s cli.Streams, do func() error) error {
	if !cli.IsTerminal(s.Err) {
		return do()
	}
	bar := progressbar.NewOptions(-1, progressbar.OptionSetWriter(s.Err), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetElapsedTime(true), progressbar.OptionSetDescription("the service works"),
		progressbar.OptionSetSpinnerChangeInterval(0)) // else a goroutine of the library's draws, without its lock
	done := make(chan error, 1)
	go func() { done <- do() }()
	ticks := time.NewTicker(barTick)
	defer ticks.Stop()
	for {
		select {
		case err := <-done:
			_ = bar.Finish()
			return err
		case <-ticks.C:
			_ = bar.Add(1)
		}
	}
}

const barTick = 200 * time.Millisecond

// each decides about the dead letters that were named, one after the other, until one fails. It returns the
// decisions that were taken, all the same.
func (t *targetFlags) each(ctx context.Context, api operatorAPI, d decision, note string) (taken []entry, err error) {
	for _, id := range t.IDs {
		var answer decided
		if err := api.post(ctx, letterPath(id)+"/"+d.verb, noted{note}, &answer); err != nil {
			return taken, fmt.Errorf("%d: %w", id, err)
		}
		taken = append(taken, entry{id, answer.Entry})
	}
	return taken, nil
}
