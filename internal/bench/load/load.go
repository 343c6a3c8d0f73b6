// Package load asks a service for random orders: as fast as it answers with wrk, at a steady rate with vegeta.
//
// In: wrk of the distribution, and ids. Out: how fast the answers came.
//
// Concurrency: what is started has ended when a function returns; they may be called concurrently.
//
// Not here: what the figures mean.
package load

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"orderbox/internal/cli"
)

//go:embed lookup.lua
var script []byte

// Options says what to ask for. All are needed.
type Options struct {
	URL     string // of the service
	Before  string // what stands before the id in a path
	IDs     string // a file with one a line
	Threads int    // of wrk, at most as many as connections
	// Connections are kept alive and asked over as fast as they answer.
	Connections int
	Duration    time.Duration // in whole seconds
	Timeout     time.Duration // of an answer, in whole seconds
}

// Result is what wrk found.
type Result struct {
	Requests, Microseconds, Errors int64
	P50, P99                       float64 // microseconds
}

// PerSecond is the rate of the answers.
func (r Result) PerSecond() float64 { return float64(r.Requests) / (float64(r.Microseconds) / 1e6) }

// Wrk runs wrk. That some requests failed is no error.
func Wrk(ctx context.Context, o Options) (r Result, err error) {
	dir, err := os.MkdirTemp("", "orderbox-wrk-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	lookups := filepath.Join(dir, "lookup.lua")
	if err := os.WriteFile(lookups, script, 0o600); err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, "wrk", "--threads", fmt.Sprint(o.Threads), "--connections", fmt.Sprint(o.Connections),
		"--timeout", fmt.Sprintf("%.0fs", o.Timeout.Seconds()), "--duration", fmt.Sprintf("%.0fs", o.Duration.Seconds()), "--script", lookups, o.URL, "--", o.IDs, o.Before)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return r, cli.Try(fmt.Errorf("run wrk: %w: %s", err, out), "apt-get install wrk")
	}
	_, result, _ := bytes.Cut(out, []byte("\nRESULT "))
	if err := json.Unmarshal(result, &r); err != nil {
		return r, fmt.Errorf("wrk said %q: %w", out, err)
	}
	return r, nil
}
