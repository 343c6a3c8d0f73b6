// Package scale is a program that measures what a message costs each engine, computes from that where each of them ends, checks
// the computation against what it measured, and writes docs/scale.md.
//
// In: the programs of this repository, wrk of the distribution, and the rates in docs/performance.md. Out: a line for each
// measurement; with --out the report with its plot; exit code 1 when the messages of a partitioned log do not add up, or, of a
// --short run, when a partition's orders cost far more than before.
//
// What is compared is the processors' time of each engine rather than rates, for a busy machine changes these more. Whatever
// has alternatives is measured by turns, round by round, and the median counts.
//
// Concurrency: one measurement after the other; what one starts beside itself has ended when it returns.
//
// Not here: ratios to the limits of the parts (package bench), and what happens when too much is asked (package stress).
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"orderbox/internal/bench/world"
	"orderbox/internal/cli"
)

type command struct {
	Short  bool   `help:"Small sizes and one round; the report is made and thrown away."`
	Rounds int    `help:"How often alternatives take turns. Default: 5, with --short 1." placeholder:"N"`
	Out    string `help:"Directory for scale.md and its plot, which a run writes that is not --short." placeholder:"DIR"`
}

// Help is the text behind --help.
func (command) Help() string {
	return "Needs wrk, and is to be run in internal/bench of a checkout: the programs are built from it."
}

func main() { cli.Main(&command{}) }

// sizes are how much is measured.
type sizes struct {
	Rounds     int
	Messages   int           // of a measurement at full speed
	Synced     int           // the same to JetStream, which syncs each by itself
	Partitions []int         // into how many the log is parted, by turns
	Appenders  []int         // how many append at a time, by turns
	Rates      []int         // messages a second, by turns
	Hold       time.Duration // of each rate, and of lookups
}

func sizesOf(short bool) sizes {
	if short {
		return sizes{Rounds: 1, Messages: 4_000, Synced: 1_000, Partitions: []int{1, 2}, Appenders: []int{1, 2}, Rates: []int{200, 600}, Hold: time.Second}
	}
	return sizes{Rounds: 5, Messages: 40_000, Synced: 10_000, Partitions: []int{1, 2, 4}, Appenders: []int{1, 2, 4}, Rates: []int{500, 1500, 3000}, Hold: 6 * time.Second}
}

// scale is one run.
type scale struct {
	sizes
	dir                string
	program, publisher string // as built
	world              *world.World
	meter              *meter
	progress           io.Writer
	began              time.Time
	found              found
}

// Run measures.
func (c *command) Run(ctx context.Context, streams cli.Streams) (err error) {
	s := &scale{sizes: sizesOf(c.Short), progress: streams.Err, began: time.Now()}
	s.sizes.Rounds = cmp.Or(c.Rounds, s.sizes.Rounds)
	if s.dir, err = os.MkdirTemp("", "orderbox-scale-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	// Run as root, PostgreSQL is another user and passes through.
	if err := os.Chmod(s.dir, 0o711); err != nil {
		return err
	}
	if err := s.build(ctx); err != nil {
		return err
	}
	if s.world, err = world.Start(ctx, world.Options{Dir: s.dir, Program: s.program, JetStream: true}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.world.Close()) }()
	if s.meter, err = newMeter(ctx, s.world); err != nil {
		return err
	}
	for _, measure := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"sources", s.measureSources}, {"lock", s.measureLock}, {"partitions", s.measurePartitions},
		{"whole", s.measureWhole},
	} {
		if err := measure.do(ctx); err != nil {
			return fmt.Errorf("measure %s: %w", measure.name, err)
		}
	}
	out := c.Out
	if c.Short || out == "" {
		out = s.dir // so that it is known to be made
	}
	if err := s.report(ctx, out); err != nil {
		return err
	}
	if c.Short {
		return s.farOff()
	}
	return nil
}

// build compiles the service and the publisher as they are in this tree.
func (s *scale) build(ctx context.Context) error {
	s.program, s.publisher = filepath.Join(s.dir, "orderbox"), filepath.Join(s.dir, "publish")
	cmd := exec.CommandContext(ctx, "go", "build", "-C", "../..", "-o", s.dir, "./cmd/orderbox", "./cmd/publish")
	cmd.Stderr = s.progress
	if err := cmd.Run(); err != nil {
		return cli.Try(fmt.Errorf("build orderbox and publish: %w", err), "go -C internal/bench run ./scale")
	}
	return nil
}

// say tells whoever looks on what was just found.
func (s *scale) say(format string, arguments ...any) {
	fmt.Fprintf(s.progress, "%6.1fs %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, arguments...))
}

// margin is how much more an order may cost in two partitions than in one, on whatever machine a --short run finds itself on.
const margin = 5

// farOff returns an error when partitions make orders far more expensive.
func (s *scale) farOff() error {
	one, two := s.found.parted[1], s.found.parted[2]
	if was, is := one.micros(), two.micros(); is > margin*was {
		return fmt.Errorf("an order takes %.0f µs of the processors in two partitions, and %.0f µs in one", is, was)
	}
	return nil
}
