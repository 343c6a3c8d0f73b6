package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/archive"
	"orderbox/internal/cli"
)

type restoreCommand struct {
	dataFlags
	databaseFlags
	adminFlags
	Files []string `arg:"" name:"file" type:"existingfile" help:"Files that 'orderbox archive' has written."`
	JSON  bool     `name:"json" help:"Print the months as JSON."`
}

// Help is the text behind --help.
func (restoreCommand) Help() string {
	return `Puts archived months back into the log, each in one transaction and with the positions that its messages had. Then all
can be replayed, looked at and decided about as if it had never been archived; orderbox archive takes it out again, and
uses the same file if it is still there. Needed before a replay, which is refused without them.

Examples:
  orderbox restore /srv/orderbox/inbox_2026_01.ndjson.zst
  orderbox restore /srv/orderbox/inbox_*.ndjson.zst && orderbox replay`
}

// Run restores one file after the other.
func (c *restoreCommand) Run(ctx context.Context, s cli.Streams) error {
	conn, err := connectOwner(ctx, c.databaseFlags, c.adminFlags, "orderbox restore")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	done := []archive.Restored{}
	for _, file := range c.Files {
		progress, finish := steps(s, file)
		r, err := archive.Restore(ctx, conn, file, progress)
		finish()
		switch {
		case errors.Is(err, archive.ErrInLog):
			fmt.Fprintf(s.Err, "%s: its month is in the log already\n", file)
			continue
		case ctx.Err() != nil:
			return cli.Try(fmt.Errorf("broken off before all of %s was in the log", file), "the same command again")
		case errors.Is(err, archive.ErrDamaged):
			return cli.Try(err, "another copy of the file; the log is as it was")
		case errors.Is(err, archive.ErrNotNoted):
			return cli.Try(err, "orderbox archive, which lists what was archived, and where to")
		case err != nil:
			return cli.Try(err, hintOf(err, "the same command again; the log is as it was"))
		}
		if done = append(done, r); c.JSON {
			continue
		}
		fmt.Fprintf(s.Out, "%s: %d messages, positions %d to %d, are in the log again\n", r.Partition, r.Messages, r.First, r.Last)
		if r.LeftBehind {
			fmt.Fprintln(s.Out, "what became of them was left behind by a replay, and 'orderbox verify' will say so until the next: orderbox replay")
		}
	}
	if c.JSON {
		return printJSON(s.Out, done)
	}
	return nil
}

// manyFiles is from how many on an advice names their directories.
const manyFiles = 4

// restoreAdvice is what to do when something is refused because months are not in the log, or else otherwise.
func restoreAdvice(ctx context.Context, pool *pgxpool.Pool, otherwise string) string {
	files, err := archive.Files(ctx, pool)
	if err != nil || len(files) == 0 {
		return otherwise
	}
	if len(files) >= manyFiles {
		for i, file := range files {
			files[i] = filepath.Join(filepath.Dir(file), "inbox_*"+archive.Suffix)
		}
		slices.Sort(files)
		files = slices.Compact(files)
	}
	return "orderbox restore " + strings.Join(files, " ") + ", and then again; or " + otherwise
}
