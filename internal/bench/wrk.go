package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"orderbox/internal/cli"
)

// connections are kept alive and asked over as fast as they answer; wrk serves them with two threads.
const connections = 64

//go:embed lookup.lua
var lookupScript []byte

// load is what wrk found.
type load struct {
	Requests, Microseconds, Errors int64
	P50, P99                       float64 // microseconds
}

func (l load) perSecond() float64 { return float64(l.Requests) / (float64(l.Microseconds) / 1e6) }

// wrk asks for random ones of these orders at base.
func (b *bench) wrk(ctx context.Context, base string, d *dump, duration time.Duration) (l load, err error) {
	ids, script := filepath.Join(b.dir, "ids"), filepath.Join(b.dir, "lookup.lua")
	if err := os.WriteFile(ids, []byte(strings.Join(d.uids, "\n")+"\n"), 0o600); err != nil {
		return l, err
	}
	if err := os.WriteFile(script, lookupScript, 0o600); err != nil {
		return l, err
	}
	cmd := exec.CommandContext(ctx, "wrk", "--threads", "2", "--connections", fmt.Sprint(connections),
		"--timeout", "20s", "--duration", fmt.Sprintf("%.0fs", duration.Seconds()), "--script", script, base, "--", ids, orderPath)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return l, cli.Try(fmt.Errorf("run wrk: %w: %s", err, out), "apt-get install wrk")
	}
	_, result, _ := bytes.Cut(out, []byte("\nRESULT "))
	if err := json.Unmarshal(result, &l); err != nil {
		return l, fmt.Errorf("wrk said %q: %w", out, err)
	}
	if l.Errors > 0 {
		return l, fmt.Errorf("wrk had errors at %s: %s", base, out)
	}
	return l, nil
}
