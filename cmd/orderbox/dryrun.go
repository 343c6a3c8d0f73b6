package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/cli"
	"orderbox/internal/verify"
	"orderbox/projector"
	"orderbox/query"
)

type dryRunFlags struct {
	DryRun   bool `name:"dry-run" help:"Change nothing: say what a replay would change, and why." xor:"what"`
	Examples int  `default:"10" help:"With --dry-run: how many of each change to show. Default: ${default}." placeholder:"N"`
	Values   bool `help:"With --dry-run: show the values of fields that would change. They are personal data."`
	JSON     bool `name:"json" help:"Print what changes, or what became of dead letters, as JSON."`
}

// dryRun judges the log once more on the side, and says what differs from what is in service.
func (c *replayCommand) dryRun(ctx context.Context, s cli.Streams, pool *pgxpool.Pool, p *projector.Projector) error {
	bar := newBar(s, "replay")
	diff, err := tryReplay(ctx, pool, p, verify.Show{Examples: c.Examples, Values: c.Values},
		func(position, head int64) { bar.show(projector.Progress{Position: position, Head: head}) })
	bar.finish(diff.At)
	if err != nil {
		return cli.Try(err, "orderbox replay --help")
	}
	if c.JSON {
		return printJSON(s.Out, diff)
	}
	return printChange(s.Out, newChange(diff))
}

// tryReplay projects the log into a generation of its own, compares it with the one in service, and drops it.
func tryReplay(ctx context.Context, pool *pgxpool.Pool, p *projector.Projector, show verify.Show, progress func(position, head int64)) (verify.Diff, error) {
	trial, err := p.Try(ctx, false, progress)
	if err != nil {
		return verify.Diff{}, err
	}
	defer trial.Drop(ctx)
	if progress != nil {
		progress(trial.At, trial.At)
	}
	return verify.Compare(ctx, pool, trial.Against, trial.Name, trial.At, show)
}

// newChange says in sentences what differs. The page shows what this command prints.
func newChange(d verify.Diff) query.Change {
	c := query.Change{At: d.At, Details: d}
	if d.Same() {
		return c
	}
	o, l := d.Orders, d.DeadLetters
	c.Counts = []query.ChangeCount{
		{Of: "orders", Parts: []query.ChangePart{{N: o.Appear, What: "appear"}, {N: o.Vanish, What: "vanish"}, {N: o.Change, What: "change"}, {N: o.Move, What: "come from another message"}}},
		{Of: "dead letters", Parts: []query.ChangePart{{N: l.Resolved, What: "are resolved"}, {N: l.Arise, What: "arise"}, {N: l.Change, What: "change"}, {N: l.State, What: "get another state"}}},
		{Of: "duplicates", Parts: []query.ChangePart{{N: d.Duplicates, What: "change"}}},
		{Of: "attempts", Parts: []query.ChangePart{{N: d.Attempts, What: "change"}}},
	}
	orders, letters := d.Examples.Orders, d.Examples.DeadLetters
	for _, some := range [][]query.ChangeExample{
		orderExamples("appears", orders.Appear), orderExamples("vanishes", orders.Vanish), orderExamples("changes", orders.Change),
		orderExamples("comes from another message", orders.Move),
		messageExamples("is resolved", letters.Resolved), messageExamples("becomes a dead letter", letters.Arise),
		messageExamples("is refused for something else", letters.Change), messageExamples("gets another state", letters.State),
		messageExamples("is another duplicate, or one no longer", d.Examples.Duplicates),
	} {
		c.Examples = append(c.Examples, some...)
	}
	return c
}

func orderExamples(what string, orders []verify.OrderExample) (examples []query.ChangeExample) {
	for _, o := range orders {
		e := query.ChangeExample{Order: o.OrderUID, Stays: o.Before > 0 && o.After > 0, Message: cmp.Or(o.After, o.Before), More: o.MoreFields}
		switch {
		case o.Before == 0:
			e.What = fmt.Sprintf("%s, from message %d", what, o.After)
		case o.After == 0 || o.After == o.Before:
			e.What = fmt.Sprintf("%s, from message %d", what, o.Before)
		default:
			e.What = fmt.Sprintf("%s, from message %d in place of %d", what, o.After, o.Before)
		}
		for _, f := range o.Fields {
			e.Fields = append(e.Fields, query.ChangeField{Path: f.Path, Before: f.Before, After: f.After})
		}
		examples = append(examples, e)
	}
	return examples
}

func messageExamples(what string, messages []verify.MessageExample) (examples []query.ChangeExample) {
	for _, m := range messages {
		e := query.ChangeExample{Message: m.Position, DeadLetter: m.Before.Reason != "",
			What: fmt.Sprintf("%s: %s, then %s", what, verdict(m.Before), verdict(m.After))}
		for _, v := range m.Went {
			e.Violations = append(e.Violations, query.ChangeViolation{Pointer: v.Pointer, Message: v.Message})
		}
		for _, v := range m.Came {
			e.Violations = append(e.Violations, query.ChangeViolation{Pointer: v.Pointer, Message: v.Message, Came: true})
		}
		examples = append(examples, e)
	}
	return examples
}

// printChange says what changes: counts first, then examples.
func printChange(w io.Writer, c query.Change) error {
	line := lines(w)
	line("compared up to position %d", c.At)
	if len(c.Counts) == 0 {
		_, err := fmt.Fprintln(w, "nothing changes: every row is the same")
		return err
	}
	for _, count := range c.Counts {
		var parts []string
		for _, part := range count.Parts {
			parts = append(parts, fmt.Sprintf("%d %s", part.N, part.What))
		}
		parts[0] = fmt.Sprintf("%8d %s", count.Parts[0].N, count.Parts[0].What)
		line("%-14s %s", count.Of, strings.Join(parts, ", "))
	}
	for _, e := range c.Examples {
		if e.Order != "" {
			line("order %s %s", e.Order, e.What)
		} else {
			line("message %d %s", e.Message, e.What)
		}
		for _, f := range e.Fields {
			if f.Before == nil && f.After == nil {
				line("    %s", f.Path)
			} else {
				line("    %s: %s, then %s", f.Path, value(f.Before), value(f.After))
			}
		}
		if e.More > 0 {
			line("    and %d fields more", e.More)
		}
		for _, v := range e.Violations {
			if v.Came {
				line("    now: %s %s", v.Pointer, v.Message)
			} else {
				line("    no longer: %s %s", v.Pointer, v.Message)
			}
		}
	}
	return nil
}

func value(v *string) string {
	if v == nil {
		return "nothing"
	}
	return fmt.Sprintf("%q", *v)
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
