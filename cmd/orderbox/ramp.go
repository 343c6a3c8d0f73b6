package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"

	"orderbox/internal/cli"
	"orderbox/projector"
	"orderbox/query"
)

type rampFlags struct {
	DeadLetters bool    `name:"dead-letters" help:"Retry open dead letters instead, in waves of 1, 2, 5, 10, …, each after the verdicts of the one before."`
	Reason      string  `help:"With --dead-letters: of this reason only." placeholder:"REASON"`
	Place       place   `help:"With --dead-letters: that fail at this place only, such as /payment/amount; - is the message as a whole." placeholder:"POINTER"`
	Since       moment  `help:"With --dead-letters: received then or later: a date, a time, or how long ago, such as 90m or 24h." placeholder:"TIME"`
	Until       moment  `help:"With --dead-letters: received before then." placeholder:"TIME"`
	Text        string  `help:"With --dead-letters: whose messages hold this text." placeholder:"TEXT"`
	From        int64   `help:"With --dead-letters: from this position on." placeholder:"POSITION"`
	To          int64   `help:"With --dead-letters: up to this position." placeholder:"POSITION"`
	ID          []int64 `name:"id" help:"With --dead-letters: these only." placeholder:"ID"`
	MaxRefused  float64 `name:"max-refused" default:"0.5" help:"With --dead-letters: stop when more than this share of them was refused again. Default: ${default}." placeholder:"SHARE"`
	Note        string  `help:"With --dead-letters: a note to record with each decision." placeholder:"TEXT"`
}

func (f *rampFlags) given() bool {
	return f.Reason != "" || f.Place != place{} || f.Since != moment{} || f.Until != moment{} || f.Text != "" || f.From != 0 || f.To != 0 || len(f.ID) > 0 || f.Note != ""
}

var errSelectionAlone = errors.New("--reason, --place, --since, --until, --text, --from, --to, --id and --note go with --dead-letters")

// ramp retries dead letters, or says what that would do.
func (c *replayCommand) ramp(ctx context.Context, s cli.Streams, p *projector.Projector) error {
	selection := projector.Selection{Reason: c.Reason, Place: c.Place.pointer, Since: c.Since.at, Until: c.Until.at, Text: c.Text,
		From: c.From, To: c.To, IDs: c.ID}
	if c.DryRun {
		o, err := p.Predict(ctx, selection)
		if err != nil {
			return err
		}
		return c.printOutcome(s, "would be retried", "would be", o)
	}
	projecting, stop := context.WithCancel(ctx)
	projected := make(chan error, 1)
	go func() { projected <- p.Run(projecting) }() // in case that no service runs
	defer func() { stop(); <-projected }()
	total, err := p.Retry(ctx, operatorName(), c.Note, selection, c.MaxRefused, func(o projector.Outcome) {
		fmt.Fprintf(s.Err, "replay: %d retried: %d orders, %d duplicates, %d refused again\n", o.Retried(), o.Orders, o.Duplicates, o.Refused)
	})
	if printed := c.printOutcome(s, "were retried", "became", total); err == nil {
		err = printed
	}
	if errors.Is(err, projector.ErrRefusedAgain) {
		return cli.Try(err, "orderbox dead-letters show one of them, or --max-refused 1 to go on all the same")
	}
	return err
}

func (c *replayCommand) printOutcome(s cli.Streams, retried, become string, o projector.Outcome) error {
	if c.JSON {
		return printJSON(s.Out, query.Wave(o))
	}
	if o == (projector.Outcome{}) {
		_, err := fmt.Fprintln(s.Out, "no open dead letter is meant: nothing to do")
		return err
	}
	fmt.Fprintf(s.Out, "%d dead letters %s: %d %s orders, %d duplicates, %d are refused again\n", o.Retried(), retried, o.Orders, become, o.Duplicates, o.Refused)
	if o.LeftOut > 0 {
		fmt.Fprintf(s.Out, "%d are left out, for a replay would decide otherwise: each would come before the order that a later message made; try: orderbox replay --dry-run\n", o.LeftOut)
	}
	return nil
}

// operatorName is who decides, as the decisions have it: whoever may use the database needs no token.
func operatorName() string {
	if u, err := user.Current(); err == nil {
		return "cli " + u.Username
	}
	return "cli"
}
