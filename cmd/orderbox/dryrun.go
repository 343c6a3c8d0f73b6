package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/cli"
	"orderbox/internal/verify"
	"orderbox/projector"
)

type dryRunFlags struct {
	DryRun   bool `name:"dry-run" help:"Change nothing: say what a replay would change, and why." xor:"what"`
	Examples int  `default:"10" help:"With --dry-run: how many of each change to show. Default: ${default}." placeholder:"N"`
	Values   bool `help:"With --dry-run: show the values of fields that would change. They are personal data."`
	JSON     bool `name:"json" help:"With --dry-run: print the changes as JSON."`
}

// dryRun judges the log once more on the side, and says what differs from what is in service.
func (c *replayCommand) dryRun(ctx context.Context, s cli.Streams, pool *pgxpool.Pool, p *projector.Projector) error {
	bar := newReplayBar(s)
	trial, err := p.Try(ctx, false, func(position, end int64) { bar.show(projector.Progress{Position: position, Head: end}) })
	if err != nil {
		return cli.Try(err, "orderbox replay --help")
	}
	bar.finish(trial.At)
	defer trial.Drop(ctx)
	diff, err := verify.Compare(ctx, pool, trial.Against, trial.Name, trial.At, verify.Show{Examples: c.Examples, Values: c.Values})
	if err != nil {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(s.Out)
		e.SetIndent("", "  ")
		return e.Encode(diff)
	}
	return printDiff(s.Out, diff)
}

// printDiff says what changes: counts first, then examples.
func printDiff(w io.Writer, d verify.Diff) error {
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	line("compared up to position %d", d.At)
	if d.Same() {
		_, err := fmt.Fprintln(w, "nothing changes: every row is the same")
		return err
	}
	line("orders         %8d appear, %d vanish, %d change, %d come from another message", d.Orders.Appear, d.Orders.Vanish, d.Orders.Change, d.Orders.Move)
	line("dead letters   %8d are resolved, %d arise, %d change, %d get another state", d.DeadLetters.Resolved, d.DeadLetters.Arise, d.DeadLetters.Change, d.DeadLetters.State)
	line("duplicates     %8d change", d.Duplicates)
	line("attempts       %8d change", d.Attempts)
	orders, letters := d.Examples.Orders, d.Examples.DeadLetters
	printOrders(line, "appears", orders.Appear)
	printOrders(line, "vanishes", orders.Vanish)
	printOrders(line, "changes", orders.Change)
	printOrders(line, "comes from another message", orders.Move)
	printMessages(line, "is resolved", letters.Resolved)
	printMessages(line, "becomes a dead letter", letters.Arise)
	printMessages(line, "is refused for something else", letters.Change)
	printMessages(line, "gets another state", letters.State)
	printMessages(line, "is another duplicate, or one no longer", d.Examples.Duplicates)
	return nil
}

func printOrders(line func(format string, args ...any), what string, orders []verify.OrderExample) {
	for _, o := range orders {
		switch {
		case o.Before == 0:
			line("order %s %s, from message %d", o.OrderUID, what, o.After)
		case o.After == 0 || o.After == o.Before:
			line("order %s %s, from message %d", o.OrderUID, what, o.Before)
		default:
			line("order %s %s, from message %d in place of %d", o.OrderUID, what, o.After, o.Before)
		}
		for _, f := range o.Fields {
			if f.Before == nil && f.After == nil {
				line("    %s", f.Path)
			} else {
				line("    %s: %s, then %s", f.Path, value(f.Before), value(f.After))
			}
		}
		if o.MoreFields > 0 {
			line("    and %d fields more", o.MoreFields)
		}
	}
}

func value(v *string) string {
	if v == nil {
		return "nothing"
	}
	return fmt.Sprintf("%q", *v)
}

func printMessages(line func(format string, args ...any), what string, messages []verify.MessageExample) {
	for _, m := range messages {
		line("message %d %s: %s, then %s", m.Position, what, verdict(m.Before), verdict(m.After))
		for _, v := range m.Went {
			line("    no longer: %s %s", v.Pointer, v.Message)
		}
		for _, v := range m.Came {
			line("    now: %s %s", v.Pointer, v.Message)
		}
	}
}

func verdict(v verify.Verdict) string {
	var text strings.Builder
	text.WriteString(strings.ReplaceAll(cmp.Or(v.Kind, "nothing"), "_", " "))
	for _, detail := range []string{v.OrderUID, v.Reason, v.State} {
		if detail != "" {
			text.WriteString(" " + detail)
		}
	}
	return text.String()
}
