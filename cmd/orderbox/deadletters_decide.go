package main

import (
	"context"
	"errors"
	"fmt"

	"orderbox/internal/cli"
)

// targetFlags name the dead letters that a decision is about: each by its id, or all that a filter finds.
type targetFlags struct {
	operatorFlags
	IDs []int64 `arg:"" optional:"" name:"id" help:"The dead letters'. Or give a filter."`
	filterFlags
	Yes    bool   `help:"Do it to all that the filter finds; without, it is only said how many there are."`
	Expect *int64 `help:"Do nothing unless the filter finds this many." placeholder:"N"`
}

// Validate keeps a forgotten filter from meaning everything.
func (t *targetFlags) Validate() error {
	filtered := t.filterFlags != filterFlags{}
	switch {
	case !filtered && len(t.IDs) == 0:
		return errors.New("name dead letters by their ids, or by a filter such as --reason or --state")
	case filtered && len(t.IDs) > 0:
		return errors.New("name dead letters by their ids or by a filter, not by both")
	}
	return nil
}

// decided is the service's answer to a decision about one dead letter. Entry is the position in the log of
// the retry or the amendment.
type decided struct{ Decision, Entry int64 }

// noted is what goes with a decision.
type noted struct {
	Note string `json:"note"`
}

// decision is a kind of decision, in the words of the address and of the report.
type decision struct{ verb, done string }

// all decides about everything that the filter finds, or says what that would be.
func (t *targetFlags) all(ctx context.Context, s cli.Streams, api operatorAPI, d decision, note string) error {
	asked := struct {
		Filter  filter `json:"filter"`
		Note    string `json:"note"`
		Preview bool   `json:"preview"`
		Expect  *int64 `json:"expect,omitempty"`
	}{t.filter(), note, !t.Yes, t.Expect}
	var answer struct {
		Count   int64
		LeftOut int64 `json:"left_out"`
	}
	if err := api.post(ctx, deadLettersPath+"/"+d.verb, asked, &answer); err != nil {
		return err
	}
	would := "would be "
	if t.Yes {
		would = ""
	}
	fmt.Fprintf(s.Out, "%s %s%s", letters(answer.Count), would, d.done)
	if answer.LeftOut > 0 {
		fmt.Fprintf(s.Out, ", %d left out", answer.LeftOut)
	}
	fmt.Fprintln(s.Out)
	if !t.Yes && answer.Count > 0 {
		fmt.Fprintln(s.Err, "nothing was done: the same command with --yes does it")
	}
	return nil
}

// each decides about the dead letters that were named, one after the other, until one fails. It returns the
// decisions taken so far.
func (t *targetFlags) each(ctx context.Context, api operatorAPI, d decision, note string, did func(id int64, taken decided)) error {
	for _, id := range t.IDs {
		var taken decided
		if err := api.post(ctx, letterPath(id)+"/"+d.verb, noted{note}, &taken); err != nil {
			return err
		}
		did(id, taken)
	}
	return nil
}
