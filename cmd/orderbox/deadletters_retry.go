package main

import (
	"context"
	"fmt"
	"time"

	"github.com/schollz/progressbar/v3"

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
that are named by their ids the verdict is awaited and printed; it exits 1 when one was refused again. After a filter,
it is counted how many are open when all have a verdict.

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
		done, err := c.all(ctx, s, api, d, c.Note, nil)
		if err != nil || done == 0 || c.Wait == 0 {
			return err
		}
		return c.watch(ctx, s, api, done, c.Wait)
	}
	// Of those that were entered before one failed the verdicts are worth knowing too.
	entered, err := c.each(ctx, api, d, c.Note)
	if refused := c.await(ctx, s, api, entered); err == nil {
		err = refused
	}
	return err
}

// watch shows how the verdicts on what was retried or amended come, and says how many of what the filter finds
// are open when they are there or the wait is over.
func (b *bulkFlags) watch(ctx context.Context, s cli.Streams, api operatorAPI, entered int64, wait time.Duration) error {
	// What can be discarded is what is open and waits for nothing; what waits is left out. To count that, no
	// message need be read.
	question := bulk{Filter: b.filter(), Preview: true}
	question.Filter.State = "open"
	bar := progressbar.NewOptions64(entered, progressbar.OptionSetWriter(s.Err), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetVisibility(cli.IsTerminal(s.Err)), progressbar.OptionShowCount(), progressbar.OptionSetDescription("verdicts"))
	deadline := time.Now().Add(wait)
	ticks := time.NewTicker(barTick)
	defer ticks.Stop()
	for {
		var now counted
		if err := api.post(ctx, deadLettersPath+"/discard", question, &now); err != nil {
			return err
		}
		_ = bar.Set64(max(0, entered-now.LeftOut))
		if now.LeftOut > 0 && time.Now().Before(deadline) {
			select {
			case <-ctx.Done(): // the next question says so
			case <-ticks.C:
			}
			continue
		}
		_ = bar.Finish()
		waiting := ""
		if now.LeftOut > 0 {
			waiting = fmt.Sprintf(", and %d that wait for a verdict", now.LeftOut)
		}
		_, err := fmt.Fprintf(s.Out, "the filter now finds %d open%s\n", now.Count, waiting)
		return err
	}
}
