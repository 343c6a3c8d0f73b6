package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderbox/internal/archive"
	"orderbox/internal/cli"
	"orderbox/projector"
	"orderbox/sql"
)

type archiveCommand struct {
	dataFlags
	databaseFlags
	adminFlags
	Months    []monthName `arg:"" optional:"" name:"month" help:"Months to archive, such as 2026_01; none lists what there is."`
	OlderThan age         `name:"older-than" help:"Archive all that ended so long ago: 13mo, or 2y." placeholder:"AGE"`
	To        string      `type:"existingdir" help:"Directory for the files." placeholder:"DIR"`
	DryRun    bool        `name:"dry-run" help:"Change nothing: say what would be archived."`
	JSON      bool        `name:"json" help:"Print the months as JSON."`
}

// Help is the text behind --help.
func (archiveCommand) Help() string {
	return `Takes months that are over out of the log, the oldest first, into one compressed file each: lines of JSON with every
column, which 'zstdcat FILE | jq' reads. A file is written, synced, read back and compared with the table row by row
before the table is dropped, so a crash at any point loses nothing: give the same command again. Orders of such
months are looked up as before; a replay wants them back first: orderbox restore.

Examples:
  orderbox archive
  orderbox archive --older-than 13mo --to /srv/orderbox --dry-run
  orderbox archive --older-than 13mo --to /srv/orderbox
  orderbox archive 2026_01 2026_02 --to /srv/orderbox`
}

// monthName is the name of a month's partition.
type monthName string

var nameOfMonth = regexp.MustCompile(`^(?:inbox_)?(\d{4,})[_-](0[1-9]|1[0-2])$`)

// UnmarshalText reads 2026_01, 2026-01 and inbox_2026_01.
func (m *monthName) UnmarshalText(text []byte) error {
	found := nameOfMonth.FindSubmatch(text)
	if found == nil {
		return errors.New("a month is 2026_01")
	}
	*m = monthName(fmt.Sprintf("inbox_%s_%s", found[1], found[2]))
	return nil
}

// age is a time in months; 0 for none.
type age int

var ages = regexp.MustCompile(`^([1-9]\d{0,3})(mo|y)$`)

// UnmarshalText reads 13mo and 2y.
func (a *age) UnmarshalText(text []byte) error {
	found := ages.FindStringSubmatch(string(text))
	if found == nil {
		return errors.New("an age is 13mo or 2y")
	}
	n, err := strconv.Atoi(found[1])
	if *a = age(n); found[2] == "y" {
		*a *= 12
	}
	return err
}

// connectOwner connects to the database that the URLs name, as the owner of the log, if its tables are of this version.
func connectOwner(ctx context.Context, database databaseFlags, admin adminFlags, application string) (*pgx.Conn, error) {
	if err := cmp.Or(database.check(), admin.check()); err != nil {
		return nil, err
	}
	o, err := migrateOptions(admin.AdminURL, database.DatabaseURL)
	if err != nil {
		return nil, err
	}
	pool, err := sql.Open(ctx, database.DatabaseURL, application, 1)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	if err := sql.CheckVersion(ctx, pool); err != nil {
		return nil, cli.Try(err, "orderbox migrate")
	}
	conn, err := sql.ConnectOwner(ctx, o.AdminURL, o.Database, application)
	return conn, cli.Try(err, "check that the administrator's URL is right, and that he ran: orderbox migrate")
}

// Run archives what is meant, or lists what there is.
func (c *archiveCommand) Run(ctx context.Context, s cli.Streams) error {
	conn, err := connectOwner(ctx, c.databaseFlags, c.adminFlags, "orderbox archive")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	months, err := archive.Months(ctx, conn)
	if err != nil {
		return err
	}
	if len(c.Months) == 0 && c.OlderThan == 0 {
		return c.list(s, months)
	}
	chosen, err := c.choose(months)
	switch {
	case err != nil:
		return err
	case c.DryRun:
		return c.list(s, chosen)
	case c.To == "" && len(chosen) > 0:
		return cli.Try(errors.New("where the files are to be is not said"), "--to DIR")
	}
	done := []archive.Month{}
	for _, m := range chosen {
		if m.State != archive.Archived {
			if err := c.archive(ctx, s, conn, &m); err != nil {
				return err
			}
		}
		if done = append(done, m); !c.JSON {
			if err := printMonths(s, done[len(done)-1:]); err != nil {
				return err
			}
		}
	}
	if c.JSON {
		return printJSON(s.Out, done)
	}
	if len(done) == 0 {
		_, err = fmt.Fprintln(s.Out, "no month is that old: nothing to do")
	}
	return err
}

// choose returns the months that are meant, the oldest first, or why they cannot be archived.
func (c *archiveCommand) choose(months []archive.Month) (chosen []archive.Month, err error) {
	for _, name := range c.Months {
		m, err := archive.Find(months, string(name))
		if err != nil {
			return nil, cli.Try(err, "orderbox archive, which lists the months")
		}
		chosen = append(chosen, m)
	}
	for _, m := range months {
		gone := m.State == archive.Archived || m.State == archive.Dropped
		if c.OlderThan > 0 && !gone && !m.Stays && !m.To.After(time.Now().UTC().AddDate(0, -int(c.OlderThan), 0)) {
			chosen = append(chosen, m)
		}
	}
	slices.SortStableFunc(chosen, func(a, b archive.Month) int { return a.From.Compare(b.From) })
	chosen = slices.CompactFunc(chosen, func(a, b archive.Month) bool { return a.Partition == b.Partition })
	for _, m := range chosen {
		if m.State == archive.Dropped {
			return nil, cli.Try(fmt.Errorf("%s was dropped, and nothing is noted of a file", m.Partition), "orderbox archive, which lists the months")
		}
		if m.WhyNot != "" {
			return nil, cli.Try(fmt.Errorf("%s cannot be archived: %s", m.Partition, m.WhyNot), tryInstead(m.WhyNot))
		}
	}
	return chosen, olderLeft(months, chosen)
}

func tryInstead(whyNot string) string {
	if strings.HasSuffix(whyNot, "projected all of it") {
		return "again when it has; a previous generation is dropped by: orderbox replay --drop-previous"
	}
	return "orderbox archive, which lists what can be archived"
}

// olderLeft returns an error when a month would be taken out from behind an older one: what is noted is where the log begins.
func olderLeft(months, chosen []archive.Month) error {
	for _, m := range chosen {
		for _, older := range months {
			left := older.State == archive.InLog && older.WhyNot != "it is empty" && older.From.Before(m.From)
			if left && m.State == archive.InLog && !slices.ContainsFunc(chosen, func(c archive.Month) bool { return c.Partition == older.Partition }) {
				return cli.Try(fmt.Errorf("%s is older than %s and still in the log", older.Partition, m.Partition),
					fmt.Sprintf("both: orderbox archive %s %s --to DIR", older.Partition, m.Partition))
			}
		}
	}
	return nil
}

func (c *archiveCommand) archive(ctx context.Context, s cli.Streams, conn *pgx.Conn, m *archive.Month) error {
	progress, finish := steps(s, m.Partition)
	_, err := archive.Archive(ctx, conn, m, c.To, progress)
	finish()
	switch {
	case ctx.Err() != nil:
		return cli.Try(errors.New("broken off: the month is in the log, or in its file already"), "the same command again")
	case errors.Is(err, archive.ErrTaken):
		return cli.Try(err, "another directory; or move the file away if it is of no use any more")
	case err != nil:
		return cli.Try(err, hintOf(err, "the same command again: until it says that a month is archived, it is in the log"))
	}
	return nil
}

// hintOf is what the database advises, or else something general.
func hintOf(err error, general string) string {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Hint != "" {
		return refused.Hint
	}
	return general
}

// steps shows the progress of each step of a month; finish ends it.
func steps(s cli.Streams, partition string) (progress archive.Progress, finish func()) {
	var now *bar
	step := ""
	finish = func() {
		if now != nil {
			now.finish(0)
		}
	}
	return func(at string, done, total int64) {
		if step != at {
			finish()
			step, now = at, newBar(s, at+" "+partition)
		}
		now.show(projector.Progress{Position: done, Head: total})
	}, finish
}

// list prints months, the oldest first.
func (c *archiveCommand) list(s cli.Streams, months []archive.Month) error {
	if c.JSON {
		return printJSON(s.Out, append([]archive.Month{}, months...))
	}
	return printMonths(s, months)
}

func printMonths(s cli.Streams, months []archive.Month) error {
	line := lines(s.Out)
	for _, m := range months {
		says := m.State
		switch {
		case m.State == archive.Archived:
			says = fmt.Sprintf("%s: %d messages in %s%s", says, m.Messages, m.File, fileSize(m.File))
		case m.State == archive.Dropped:
			says = fmt.Sprintf("%s: %d messages", says, m.Messages)
		case m.WhyNot != "":
			says += ": " + m.WhyNot
		default:
			says += ", can be archived"
		}
		switch {
		case m.OpenLetters > 0 && m.State == archive.Archived:
			says += fmt.Sprintf("; its %d open dead letters wait until it is restored", m.OpenLetters)
		case m.OpenLetters > 0:
			says += fmt.Sprintf("; decide about its %d open dead letters before", m.OpenLetters)
		}
		line("%-14s %9s  %s", m.Partition, size(m.Bytes), says)
	}
	return nil
}

// fileSize is what there is to say of the size of an archive: where it is on another machine, nothing.
func fileSize(name string) string {
	info, err := os.Stat(filepath.Clean(name))
	if err != nil {
		return ""
	}
	return ", " + size(info.Size())
}

// size is a number of bytes for people.
func size(bytes int64) string {
	switch {
	case bytes == 0:
		return "-"
	case bytes < 1e6:
		return fmt.Sprintf("%.1f kB", float64(bytes)/1e3)
	case bytes < 1e9:
		return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
	default:
		return fmt.Sprintf("%.1f GB", float64(bytes)/1e9)
	}
}
