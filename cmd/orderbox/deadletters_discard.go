package main

import (
	"context"
	"fmt"

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

// settle takes a decision that no verdict follows.
func (t *targetFlags) settle(ctx context.Context, s cli.Streams, d decision, note string) error {
	api, err := t.api()
	if err != nil {
		return err
	}
	if len(t.IDs) == 0 {
		return t.all(ctx, s, api, d, note)
	}
	return t.each(ctx, api, d, note, func(id int64, _ decided) { fmt.Fprintf(s.Out, "%d was %s\n", id, d.done) })
}
