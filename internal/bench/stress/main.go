// Package stress is a program that asks more and more of `orderbox up` until it breaks, and writes docs/stress.md.
//
// In: the source of this repository, of which it may build an earlier commit too; wrk of the distribution, and vegeta as a
// library. Out: a line for each step; with --out the report with its plots.
//
// Each version is one process with a broker and a database of its own, filled with the same orders. They take turns, step
// by step, so that a slow minute of the machine is one for all. What asks for its share of the processors says how much
// that is.
//
// Concurrency: one step after the other. In a step vegeta and the publisher have goroutines, which end with it.
//
// Not here: ratios to the limits of the parts (package bench).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"orderbox/internal/cli"
	"orderbox/publisher"
)

type command struct {
	Before string        `help:"An earlier commit, measured beside this tree." placeholder:"COMMIT"`
	Orders int           `help:"Orders in each service." default:"100000"`
	Hold   time.Duration `help:"How long each step lasts." default:"5s"`
	Out    string        `help:"Directory for stress.md and its plots; nothing is written by default." placeholder:"DIR"`
}

// Help is the text behind --help.
func (command) Help() string {
	return "Needs wrk, and is to be run in a checkout: the services are built from it."
}

func main() { cli.Main(&command{}) }

// seed is that of the orders that are looked up. What is published meanwhile has others.
const seed = 1

// Run measures.
func (c *command) Run(ctx context.Context, streams cli.Streams) (err error) {
	dir, err := os.MkdirTemp("", "orderbox-stress-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Run as root, PostgreSQL is another user and passes through.
	if err := os.Chmod(dir, 0o711); err != nil {
		return err
	}
	s := &stress{hold: c.Hold, ids: filepath.Join(dir, "ids"), progress: streams.Err, began: time.Now()}
	payloads, err := s.orders(c.Orders)
	if err != nil {
		return err
	}
	names := []string{"now"}
	if c.Before != "" {
		names = []string{"before", "now"}
	}
	for _, name := range names {
		at := filepath.Join(dir, name)
		program, err := build(ctx, at, map[string]string{"before": c.Before}[name])
		if err != nil {
			return err
		}
		v, err := start(ctx, name, at, program)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, v.stop()) }()
		s.versions = append(s.versions, v)
		s.say("%s: publish %d orders", name, c.Orders)
		if err := v.fill(ctx, payloads, s.uids[len(s.uids)-1]); err != nil {
			return err
		}
	}
	for _, r := range ramps {
		if err := s.climb(ctx, r); err != nil {
			return err
		}
	}
	if c.Out != "" {
		return s.report(ctx, c)
	}
	return nil
}

// stress is one run.
type stress struct {
	hold     time.Duration
	ids      string   // a file with uids, a line each
	uids     []string // of the orders that every version has
	versions []*version
	results  []result
	progress io.Writer
	began    time.Time
}

// orders makes the orders that are looked up.
func (s *stress) orders(count int) (payloads [][]byte, err error) {
	var ids []byte
	for o := range publisher.Orders(seed) {
		payloads = append(payloads, o.JSON())
		s.uids = append(s.uids, o.OrderUID)
		ids = fmt.Appendln(ids, o.OrderUID)
		if len(payloads) >= count {
			break
		}
	}
	return payloads, os.WriteFile(s.ids, ids, 0o600)
}

// say tells whoever looks on what was just found.
func (s *stress) say(format string, arguments ...any) {
	fmt.Fprintf(s.progress, "%6.1fs %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, arguments...))
}
