package main

import (
	"context"

	"orderbox/internal/cli"
)

type retryCommand struct {
	targetFlags
	verdictFlags
	Note string `help:"Why. It is kept with the dead letter." placeholder:"TEXT"`
}

// Help is the text behind --help.
func (retryCommand) Help() string {
	return `A retry enters the message into the log once more, where the schema in force judges it like any other. Of those
that are named by their ids the verdict is awaited and printed; it exits 1 when one was refused again.

Examples:
  orderbox dead-letters retry 17
  orderbox dead-letters retry --reason invalid --place /delivery/zip --yes`
}

// Run retries, and waits for the verdicts.
func (c *retryCommand) Run(ctx context.Context, s cli.Streams) error {
	api, err := c.api()
	if err != nil {
		return err
	}
	d := decision{"retry", "retried"}
	if len(c.IDs) == 0 {
		return c.all(ctx, s, api, d, c.Note)
	}
	var entered []entry
	err = c.each(ctx, api, d, c.Note, func(id int64, taken decided) { entered = append(entered, entry{id, taken.Entry}) })
	// Of those that were entered before one failed, the verdicts are worth knowing too.
	if refused := c.await(ctx, s, api, entered); err == nil {
		err = refused
	}
	return err
}
