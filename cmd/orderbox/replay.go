package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/schollz/progressbar/v3"

	"orderbox/inbox"
	"orderbox/internal/cli"
	"orderbox/internal/verify"
	"orderbox/projector"
	"orderbox/sql"
)

type replayCommand struct {
	dataFlags
	databaseFlags
	logFlags
	schemaFlags
	dryRunFlags
	rampFlags
	Detach          bool `help:"Order the replay and leave it to the running service."`
	Adopt           bool `help:"Judge by this program's schema even if another one has followed it since."`
	WithoutDetached bool `name:"without-detached" help:"Where partitions of the log were detached: leave behind what became of their messages."`
	Rollback        bool `help:"Put the previous generation in service again, brought up to date." xor:"what"`
	Cancel          bool `help:"Give up the replay that is under way; what is in service stays." xor:"what"`
	DropPrevious    bool `name:"drop-previous" help:"Drop the previous generation, which is kept until the next replay." xor:"what"`
}

// Help is the text behind --help.
func (replayCommand) Help() string {
	return `Judges the whole log again by the schema in force, or by one that is new to the log, into tables of its own (a generation) beside those in
service, and puts them in service in one transaction when they have caught up. Lookups and ingest go on meanwhile. The
running service does the work; when none runs, this command does. Breaking it off does no harm: the next service, or
this command, goes on where it was.

Examples:
  orderbox replay --dry-run
  orderbox replay --dry-run --schema next.schema.json
  orderbox replay
  orderbox replay --rollback
  orderbox replay --dead-letters --place /payment/amount`
}

// Run orders and watches a replay.
func (c *replayCommand) Run(ctx context.Context, s cli.Streams) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.given() && !c.DeadLetters {
		return errSelectionAlone
	}
	pool, err := sql.Open(ctx, c.DatabaseURL, "orderbox replay", projectorConns)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := sql.CheckVersion(ctx, pool); err != nil {
		return cli.Try(err, "orderbox migrate")
	}
	log := c.logger(s)
	schema, err := c.source()
	if err != nil {
		return err
	}
	p, err := projector.New(pool, inbox.New(pool, log), projector.Options{Schema: schema, Log: log})
	if err != nil {
		return err
	}
	var generation string
	switch {
	case c.DeadLetters:
		return c.ramp(ctx, s, p)
	case c.DryRun:
		return c.dryRun(ctx, s, pool, p)
	case c.Cancel:
		return c.drop(ctx, s, p.Cancel, "the replay was given up", "no replay is under way: nothing was done")
	case c.DropPrevious:
		return c.drop(ctx, s, p.DropPrevious, "the previous generation was dropped", "there is no previous generation: nothing was done")
	case c.Rollback:
		generation, err = p.RollBack(ctx)
	default:
		generation, err = p.Order(ctx, c.Adopt, c.WithoutDetached)
	}
	if errors.Is(err, projector.ErrDetached) {
		return cli.Try(err, restoreAdvice(ctx, pool, "--dry-run, which says what would vanish; and --without-detached to leave it behind"))
	}
	if err != nil {
		return cli.Try(err, "orderbox replay --help")
	}
	if c.Detach {
		_, err = fmt.Fprintln(s.Out, "ordered: the running service builds the generation and puts it in service")
		return err
	}
	return c.watch(ctx, s, pool, p, generation)
}

func (c *replayCommand) drop(ctx context.Context, s cli.Streams, drop func(context.Context) (bool, error), done, nothing string) error {
	was, err := drop(ctx)
	if err != nil {
		return cli.Try(err, "try again when nobody reads it any more")
	}
	if !was {
		done = nothing
	}
	_, err = fmt.Fprintln(s.Out, done)
	return err
}

var errReplayGone = errors.New("the replay was given up, or ordered anew by somebody else")

// watch shows the progress until the generation is in service, and builds it when nobody else does.
func (c *replayCommand) watch(ctx context.Context, s cli.Streams, pool *pgxpool.Pool, p *projector.Projector, generation string) error {
	building, stop := context.WithCancel(ctx)
	built := make(chan struct{})
	go func() {
		defer close(built)
		p.Build(building)
	}()
	defer func() { stop(); <-built }()

	started := time.Now()
	bar := newBar(s, "replay")
	ticks := time.NewTicker(200 * time.Millisecond)
	defer ticks.Stop()
	for {
		now, err := p.Progress(ctx)
		switch {
		case ctx.Err() != nil:
			return cli.Try(errors.New("not watching any more: the replay itself was not given up"), "orderbox replay --cancel, or a running service finishes it")
		case err != nil:
			return cli.Try(err, "the same command again: it goes on where it was")
		case now.Generation == generation:
			bar.show(now)
		case now.InService == generation:
			bar.finish(now.Head)
			return c.sayWhatChanged(ctx, s, pool, now, time.Since(started))
		default:
			return errReplayGone
		}
		select {
		case <-ctx.Done():
		case <-ticks.C:
		}
	}
}

// replayed is what came of a replay, as JSON.
type replayed struct {
	InService string       `json:"in_service"`
	Position  int64        `json:"position"`
	Seconds   float64      `json:"seconds"`
	Change    *verify.Diff `json:"change"` // null when there is nothing to compare with
}

// sayWhatChanged compares what is in service with what was before.
func (c *replayCommand) sayWhatChanged(ctx context.Context, s cli.Streams, pool *pgxpool.Pool, now projector.Progress, took time.Duration) error {
	say := replayed{InService: now.InService, Position: now.Head, Seconds: took.Seconds()}
	if !c.JSON {
		fmt.Fprintf(s.Out, "%s is in service, up to position %d, after %.1fs\n", say.InService, say.Position, say.Seconds)
	}
	if now.Previous != "" {
		diff, err := verify.Compare(ctx, pool, now.Previous, now.InService, now.PreviousAt, verify.Show{Examples: 3})
		if err != nil {
			// Another version's tables may have other columns.
			fmt.Fprintf(s.Err, "not compared with %s: %v\n", now.Previous, err)
		} else {
			say.Change = &diff
		}
	}
	switch {
	case c.JSON:
		return printJSON(s.Out, say)
	case say.Change != nil:
		return printChange(s.Out, newChange(*say.Change))
	}
	return nil
}

// bar shows the progress of something long: a bar with rate and time left to a person, a line every ten seconds to
// anything else.
type bar struct {
	s      cli.Streams
	what   string
	bar    *progressbar.ProgressBar // nil when nobody looks
	last   time.Time
	status string
}

const plainEvery = 10 * time.Second

func newBar(s cli.Streams, what string) *bar {
	b := &bar{s: s, what: what, last: time.Now()}
	if cli.IsTerminal(s.Err) {
		b.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(s.Err), progressbar.OptionShowCount(),
			progressbar.OptionShowIts(), progressbar.OptionSetItsString("msg"), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetPredictTime(true), progressbar.OptionSetDescription(what), progressbar.OptionThrottle(100*time.Millisecond))
	}
	return b
}

func (b *bar) show(p projector.Progress) {
	if b.bar != nil {
		b.bar.ChangeMax64(max(1, p.Head))
		if p.Status != b.status {
			b.bar.Describe(b.what + " " + p.Status)
		}
		_ = b.bar.Set64(p.Position)
	} else if time.Since(b.last) >= plainEvery {
		fmt.Fprintf(b.s.Err, "%s: at %d of %d %s\n", b.what, p.Position, p.Head, p.Status)
		b.last = time.Now()
	}
	b.status = p.Status
}

func (b *bar) finish(head int64) {
	if b.bar != nil {
		_ = b.bar.Set64(head)
		_ = b.bar.Finish()
	}
}
