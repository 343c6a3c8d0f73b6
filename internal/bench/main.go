// Package bench is a program that measures Orderbox against the limits of its parts, and writes docs/performance.md.
//
// In: the programs of this repository, and wrk and nginx of the distribution. Out: a line for each figure; with --out
// the report with its plots; exit code 1 when a --short run finds a ratio far below its goal.
//
// Each row of the report is measured in rounds, in which the service and its limit take turns, so that a slow minute of
// the machine is one for both. A row's score is the median of its rounds' ratios.
//
// Concurrency: one row after the other; what a row starts beside itself has ended when it returns.
//
// Not here: servers and the service's processes (package world); benchmarks of single functions, which stand beside
// these (go test -bench).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot/plotter"

	"orderbox/internal/bench/world"
	"orderbox/internal/cli"
)

type command struct {
	Short  bool     `help:"Small sizes; fails when a ratio is below a fifth of its goal."`
	Row    []string `help:"Only these rows, in the order of the report." placeholder:"NAME"`
	Rounds int      `help:"How often each row takes turns with its limit. Default: 5, with --short 3." placeholder:"N"`
	Out    string   `help:"Directory for performance.md and its plots, which a run writes that is of all rows and not --short." placeholder:"DIR"`
	Data   string   `help:"Directory for the databases, which are kept and filled up to what is wanted the next time. By default they are thrown away." placeholder:"DIR"`
}

// Help is the text behind --help.
func (command) Help() string {
	names := make([]string, len(rows()))
	for i, r := range rows() {
		names[i] = r.name
	}
	return "Rows: " + strings.Join(names, ", ") + "."
}

// row is one question that is measured.
type row struct {
	name    string
	measure func(*bench, context.Context) error
}

// In the order in which the databases grow.
func rows() []row {
	return []row{
		{"ingest", (*bench).ingest},
		{"project", (*bench).project},
		{"whole", (*bench).whole},
		{"latency", (*bench).latency},
		{"boot", (*bench).boot},
		{"cache", (*bench).cache},
		{"limited", (*bench).limited},
		{"get", (*bench).get},
		{"busy", (*bench).busy},
		{"replay", (*bench).replay},
		{"growth", (*bench).growth},
		{"pages", (*bench).pages},
	}
}

func main() { cli.Main(&command{}) }

// Run measures.
func (c *command) Run(ctx context.Context, s cli.Streams) (err error) {
	for _, name := range c.Row {
		if !slices.ContainsFunc(rows(), func(r row) bool { return r.name == name }) {
			return cli.Try(fmt.Errorf("there is no row %s", name), "bench --help")
		}
	}
	b := &bench{sizes: sizesOf(c.Short), rounds: c.Rounds, progress: s.Err, began: time.Now(), worlds: map[string]*world.World{}}
	if b.rounds == 0 {
		b.rounds = b.sizes.rounds
	}
	if b.apart = 1; len(c.Row) == 0 {
		b.apart = 10
	}
	if b.dir = c.Data; b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "orderbox-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	}
	if err := os.MkdirAll(b.dir, 0o711); err != nil {
		return err
	}
	// Run as root, PostgreSQL is another user and passes through.
	if err := os.Chmod(b.dir, 0o711); err != nil {
		return err
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	for _, r := range rows() {
		if len(c.Row) > 0 && !slices.Contains(c.Row, r.name) {
			continue
		}
		b.row = r.name
		if err := r.measure(b, ctx); err != nil {
			return fmt.Errorf("measure %s: %w", r.name, err)
		}
	}
	for _, f := range b.figures {
		fmt.Fprintln(s.Out, f)
	}
	if len(c.Row) == 0 {
		b.row = "report"
		out := c.Out
		if c.Short || out == "" {
			out = b.dir // so that it is known to be made
		}
		if err := b.report(ctx, out); err != nil {
			return err
		}
	}
	if c.Short {
		return farBelow(b.figures)
	}
	return nil
}

// bench is one run.
type bench struct {
	sizes    sizes
	rounds   int
	apart    int // of so many orders one is asked for by its id, where every answer is compared; each takes its time
	dir      string
	program  string // orderbox
	progress io.Writer
	began    time.Time

	row     string // that is being measured
	worlds  map[string]*world.World
	figures []figure

	nginxCache string      // of open files
	latencyAll []float64   // of every sample, in milliseconds
	filling    plotter.XYs // messages/s by millions of orders there were, while the large world was filled
}

// build compiles the service as it is in this tree.
func (b *bench) build(ctx context.Context) error {
	b.program = filepath.Join(b.dir, "orderbox")
	cmd := exec.CommandContext(ctx, "go", "build", "-C", "../..", "-o", b.program, "./cmd/orderbox")
	cmd.Stderr = b.progress
	if err := cmd.Run(); err != nil {
		return cli.Try(fmt.Errorf("build orderbox: %w", err), "go -C internal/bench run .")
	}
	return nil
}

// say tells whoever looks on what was just found.
func (b *bench) say(format string, arguments ...any) {
	fmt.Fprintf(b.progress, "%6.1fs %s: %s\n", time.Since(b.began).Seconds(), b.row, fmt.Sprintf(format, arguments...))
}

// world returns the world of that name with at least so many orders in service and nothing pending.
func (b *bench) world(ctx context.Context, name string, orders int) (*world.World, error) {
	w := b.worlds[name]
	if w == nil {
		var err error
		if w, err = world.Start(ctx, world.Options{Dir: filepath.Join(b.dir, name), Program: b.program}); err != nil {
			return nil, err
		}
		b.worlds[name] = w
	}
	return w, b.fill(ctx, w, orders)
}

func (b *bench) close() (err error) {
	for _, w := range b.worlds {
		err = errors.Join(err, w.Close())
	}
	return err
}
