package main

import (
	"context"
	"fmt"
	"time"

	"orderbox/internal/cli"
)

type discardCommand struct {
	targetFlags
	Note string `required:"" help:"Why. It is kept with the dead letter." placeholder:"TEXT"`
}

// Help is the text behind --help.
func (discardCommand) Help() string {
	return `The messages stay in the log; 'reopen' takes it back.

Examples:
  orderbox dead-letters discard 17 18 --note 'a test of the sender'
  orderbox dead-letters discard --reason malformed --until 2026-11-01 --note 'before the fix' --yes`
}

// Run discards.
func (c *discardCommand) Run(ctx context.Context, s cli.Streams) error {
	return c.settle(ctx, s, decision{"discard", "discarded"}, c.Note)
}

type reopenCommand struct {
	targetFlags
	Note string `help:"Why. It is kept with the dead letter." placeholder:"TEXT"`
}

// Help is the text behind --help.
func (reopenCommand) Help() string {
	return `Example:
  orderbox dead-letters reopen 17 --note 'it was an order after all'`
}

// Run reopens.
func (c *reopenCommand) Run(ctx context.Context, s cli.Streams) error {
	return c.settle(ctx, s, decision{"reopen", "reopened"}, c.Note)
}

// settle takes a decision that no verdict follows, and waits until it shows.
func (t *targetFlags) settle(ctx context.Context, s cli.Streams, d decision, note string) error {
	api, err := t.api()
	if err != nil {
		return err
	}
	if len(t.IDs) == 0 {
		_, err := t.all(ctx, s, api, d, note, nil)
		return err
	}
	taken, err := t.each(ctx, api, d, note)
	deadline := time.Now().Add(settleWait)
	for _, e := range taken {
		if _, err := api.waitVerdict(ctx, e, deadline); err != nil {
			return err
		}
		fmt.Fprintf(s.Out, "%d was %s\n", e.letter, d.done)
	}
	return err
}

// settleWait is how long a decision may take to show in lists. It is taken at once.
const settleWait = 3 * time.Second
