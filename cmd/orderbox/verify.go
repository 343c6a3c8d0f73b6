package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"orderbox/internal/cli"
	"orderbox/internal/verify"
	"orderbox/sql"
)

type verifyCommand struct {
	dataFlags
	databaseFlags
	channelFlags
	Broker bool   `help:"Ask the broker what it has, and name what of it the log lacks."`
	Deep   bool   `help:"Project the whole log once more on the side, and compare row by row and answer by answer."`
	Repair bool   `help:"With --deep: put right what differs, if it is of at most a thousand messages."`
	URL    string `env:"ORDERBOX_URL" help:"With --deep: the service whose answers to compare." placeholder:"URL"`
	JSON   bool   `name:"json" help:"Print the report as JSON."`
}

// Help is the text behind --help.
func (verifyCommand) Help() string {
	return `Counts everything in one snapshot, by SQL alone: it shares no code with the stages that it checks. Exits 1 and
names what is wrong when a law does not hold. Gaps, messages that the broker numbered and never delivered, are shown
and are no failure: nobody has acknowledged them. The fingerprint is the same wherever the same messages were projected in
the same order, and another one where any row differs: entries, schema, and a hash of every row.

With --broker the log is compared with what the broker has. So what the log lost at its end is found as well, after a
fail-over to a standby that lagged: nothing there says that there was more. Ingest asks the broker for it again by itself.

With --deep the projector's own code projects the log again, by the rules in service: it must come to the same rows, and
the service must answer with them.

Examples:
  orderbox verify
  orderbox verify --deep
  orderbox verify --broker --nats-url nats://broker:4222
  orderbox verify --json | jq .fingerprint`
}

var (
	errLawBroken = errors.New("the laws do not hold")
	errNotSame   = errors.New("what is in service is not what the log makes")
)

// verified is the report as JSON. The fingerprint is taken after it, and says itself of which position.
type verified struct {
	verify.Report
	Fingerprint verify.Print    `json:"fingerprint"`
	Brokers     []verify.Broker `json:"brokers,omitempty"`
	Deep        *deepReport     `json:"deep,omitempty"`
}

// Run checks and reports.
func (c *verifyCommand) Run(ctx context.Context, s cli.Streams) error {
	if err := c.check(); err != nil {
		return err
	}
	pool, err := sql.Open(ctx, c.DatabaseURL, "orderbox verify", projectorConns)
	if err != nil {
		return err
	}
	defer pool.Close()
	report, err := verify.Check(ctx, pool)
	if err != nil {
		return cli.Try(err, "check that the database of --database-url is up and migrated")
	}
	fingerprint, err := verify.Fingerprint(ctx, pool)
	if err != nil {
		return cli.Try(err, "check that the database of --database-url is up and migrated")
	}
	full := verified{Report: report, Fingerprint: fingerprint}
	if c.Broker {
		if full.Brokers, err = c.compareBrokers(ctx, pool); err != nil {
			return err
		}
	}
	if c.Deep {
		if full.Deep, err = c.deep(ctx, s, pool); err != nil {
			return err
		}
	}
	if c.JSON {
		err = printJSON(s.Out, full)
	} else {
		err = printReport(s.Out, full)
	}
	switch {
	case err != nil:
		return err
	case len(report.Broken) > 0:
		return cli.Try(errLawBroken, "keep the database as it is and look at the positions named above")
	case full.lacks():
		return cli.Try(errLacking, "let ingest run: it asks the broker for these again by itself, within two minutes of its start and every ten minutes at most; then verify again")
	case full.Deep != nil && full.Deep.Repaired > 0:
		return nil
	case full.Deep != nil && !full.Deep.sound():
		return cli.Try(errNotSame, "--repair for single orders, or orderbox replay, which makes everything anew from the log; keep a dump if you want to know why")
	}
	return nil
}

func printReport(w io.Writer, r verified) error {
	line := lines(w)
	line("received      %10d", r.Received)
	line("  orders      %10d", r.Orders)
	line("  duplicates  %10d", r.Duplicates)
	line("  dead letters%10d", r.DeadLetters)
	line("  pending     %10d", r.Pending)
	if r.Detached > 0 {
		line("detached      %10d", r.Detached)
	}
	line("gaps          %10d", r.Gaps)
	for _, e := range r.Epochs {
		if e.Number > 1 || e.Missing > 0 {
			line("  channel %s, epoch %d, since %s: %d of %d came", e.Channel, e.Number, e.Since.Format(time.DateTime), e.Received, e.Last)
		}
	}
	for _, g := range r.GapRanges {
		line("  channel %s, epoch %d, sequences %d to %d never came", g.Channel, g.Epoch, g.From, g.To)
	}
	printBrokers(line, r.Brokers)
	line("fingerprint   %s", r.Fingerprint)
	for _, f := range r.Broken {
		fmt.Fprint(w, cli.Paint(w, cli.Red, fmt.Sprintf("law %d is broken:", f.Law)))
		line(" %s (%d; for example %v)", f.What, f.Count, f.Examples)
	}
	if len(r.Broken) == 0 {
		fmt.Fprintln(w, cli.Paint(w, cli.Green, "it adds up, and the laws hold"))
	}
	if r.Deep == nil {
		return nil
	}
	return printDeep(w, r.Deep)
}
