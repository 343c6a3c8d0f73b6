package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"orderbox/inbox"
	"orderbox/internal/cli"
	"orderbox/internal/cutover"
	"orderbox/internal/stream"
	"orderbox/projector"
	"orderbox/sql"
)

type cutoverCommand struct {
	dataFlags
	databaseFlags
	streamFlags
	addressFlags
	clientFlags
	logFlags
	UntilQuiet time.Duration `name:"until-quiet" help:"Stop copying once STAN has had nothing new for so long and all is copied, and print the report." placeholder:"TIME"`
	Report     bool          `help:"Copy nothing, and print the report of how things stand."`
	JSON       bool          `name:"json" help:"Print the report as JSON."`
}

// Help is the text behind --help.
func (cutoverCommand) Help() string {
	return `Copies the whole STAN channel into the JetStream stream, history first and in order, and goes on with what comes,
while producers move one after the other. A producer that must keep its order stops publishing to STAN, waits until this
says 0 behind and that STAN was quiet for 3s since, and goes on in the stream. It may be killed and started again at any moment: the stream itself says how far
the copies have come.

The report reads everything anew from STAN and compares it with the log and the stream, message by message. It exits 1
unless STAN can be switched off: STAN must also have been quiet for a minute, or as long as --until-quiet says.

The whole way is described in docs/CUTOVER.md.

Examples:
  orderbox cutover
  orderbox cutover --until-quiet 10m
  orderbox cutover --report --json | jq .verdict`
}

// quietByDefault is for how long STAN must have had nothing new.
const quietByDefault = time.Minute

var errNotReady = errors.New("STAN cannot be switched off yet")

// Run copies, or reports, or one after the other.
func (c *cutoverCommand) Run(ctx context.Context, s cli.Streams) error {
	if c.Report || c.UntilQuiet > 0 { // without a report there is no need for the database
		if err := c.check(); err != nil {
			return err
		}
	}
	if !c.Report {
		if err := c.relay(ctx, s); err != nil || c.UntilQuiet == 0 || ctx.Err() != nil {
			return err
		}
	}
	report, err := c.prove(ctx, s)
	if err != nil {
		return cli.Try(err, "check that --nats-url, --stan-cluster, --stream and --database-url are those of the service")
	}
	if c.JSON {
		err = printJSON(s.Out, report)
	} else {
		err = printCutover(s.Out, report)
	}
	if err == nil && !report.Ready {
		err = cli.Try(errNotReady, "leave STAN, the copying and serve --source jetstream running, and look again with: orderbox cutover --report")
	}
	return err
}

func (c *cutoverCommand) stan(client string) cutover.STAN {
	return cutover.STAN{STAN: stream.STAN{URL: c.NATSURL, Cluster: c.Cluster, Client: client, TLS: c.Files}, Channel: c.Channel}
}

func (c *cutoverCommand) stream(client string) stream.Options {
	return stream.Options{URL: c.url(inbox.SourceJetStream), Name: c.Stream, Subject: c.Channel, Client: client, TLS: c.Files}
}

// relay copies until ctx ends or STAN is quiet.
func (c *cutoverCommand) relay(ctx context.Context, s cli.Streams) error {
	client, err := c.clientID()
	if err != nil {
		return err
	}
	client += "-cutover" // beside a replica of the same name
	bar := newBar(s, "copied")
	var last cutover.Progress
	r, err := cutover.NewRelay(cutover.RelayOptions{STAN: c.stan(client), Stream: c.stream(client), UntilQuiet: c.UntilQuiet, Log: c.logger(s),
		Progress: func(p cutover.Progress) {
			last = p
			bar.show(projector.Progress{Position: int64(p.Last), Head: int64(p.Last) + p.Behind,
				Status: howFar(p)})
		}})
	if err != nil {
		return err
	}
	err = r.Run(ctx)
	bar.finish(int64(last.Last))
	if last.Copied == 0 && !last.Known {
		fmt.Fprintf(s.Err, "nothing was copied: STAN and the stream were not both read, or have no message of the channel %s\n", c.Channel)
	} else {
		fmt.Fprintf(s.Err, "copied %d messages, up to sequence %d; %s\n", last.Copied, last.Last, howFar(last))
	}
	if refusal, ok := errors.AsType[*cutover.Refusal](err); ok {
		err = cli.Try(err, refusal.Advice)
	}
	return err
}

// howFar says what a producer waits for. Quiet is cut, not rounded: it is waited for.
func howFar(p cutover.Progress) string {
	if !p.Known {
		return "how far behind is not known yet"
	}
	return fmt.Sprintf("%d behind, STAN quiet for %s", p.Behind, p.Quiet.Truncate(time.Second))
}

// prove makes the report.
func (c *cutoverCommand) prove(ctx context.Context, s cli.Streams) (cutover.Report, error) {
	pool, err := sql.Open(ctx, c.DatabaseURL, "orderbox cutover", 1)
	if err != nil {
		return cutover.Report{}, err
	}
	defer pool.Close()
	client := "orderbox-report-" + rand.Text() // beside the relay, and other reports
	quiet := c.UntilQuiet
	if quiet == 0 {
		quiet = quietByDefault
	}
	bar := newBar(s, "compared")
	end := uint64(0)
	report, err := cutover.Prove(ctx, cutover.ProveOptions{STAN: c.stan(client), Stream: c.stream(client), Pool: pool, Quiet: quiet,
		Progress: func(sequence, last uint64) {
			end = last
			bar.show(projector.Progress{Position: int64(sequence), Head: int64(last)})
		}})
	bar.finish(int64(end))
	return report, err
}

func printCutover(w io.Writer, r cutover.Report) error {
	line := lines(w)
	some := func(n int64, format string) {
		if n > 0 {
			line(format, n)
		}
	}
	line("at STAN       %10d  channel %s, %d to %d", r.STAN.Messages, r.Channel, r.STAN.First, r.STAN.Last)
	if r.STAN.Messages > 0 {
		line("                          the last one on %s", r.STAN.LastAt.Format(time.DateTime))
	}
	some(r.STAN.Since, "  since       %10d  came while this was compared")
	line("in the log    %10d  once, byte for byte", r.Log.Once)
	line("  by both     %10d  by STAN first, and copied", r.Log.Both)
	line("  by STAN     %10d  not copied yet, or not received from the stream", r.Log.STANAlone)
	line("  by the copy %10d  before STAN delivered them, if it did", r.Log.CopiedOnly)
	line("  missing     %10d", r.Log.Missing)
	line("  different   %10d", r.Log.Different)
	line("  doubled     %10d", r.Log.Doubled)
	some(r.Log.Detached, "  detached    %10d  with their month, on purpose")
	line("copied        %10d  once, in STAN's order", r.Copies.Once)
	line("  not         %10d", r.Copies.Missing)
	some(r.Copies.Again, "  again       %10d  more than once or out of place, and known for copies")
	some(r.Copies.Gone, "  of others   %10d  that STAN does not have any more")
	line("in the stream %10d  %s", r.Whole.Messages, r.Stream)
	line("  in the log  %10d", r.Whole.InLog)
	line("  not yet     %10d", r.Whole.NotYet)
	for _, run := range append(r.Log.Wrong, r.Copies.Wrong...) {
		line("sequences %d to %d: %s", run.From, run.To, run.What)
	}
	color := cli.Green
	if !r.Ready {
		color = cli.Red
	}
	_, err := fmt.Fprintln(w, cli.Paint(w, color, plain(r.Verdict)))
	return err
}
