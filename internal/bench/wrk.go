package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"orderbox/internal/bench/load"
	"orderbox/internal/bench/world"
)

// connections are kept alive and asked over as fast as they answer; wrk serves them with two threads.
const connections = 64

// wrk asks for random ones of these orders at base.
func (b *bench) wrk(ctx context.Context, base string, d *dump, duration time.Duration) (r load.Result, err error) {
	ids := filepath.Join(b.dir, "ids")
	if err := os.WriteFile(ids, []byte(strings.Join(d.uids, "\n")+"\n"), 0o600); err != nil {
		return r, err
	}
	r, err = load.Wrk(ctx, load.Options{URL: base, Before: world.OrderPath, IDs: ids, Threads: 2, Connections: connections, Duration: duration, Timeout: 20 * time.Second})
	if err == nil && r.Errors > 0 {
		return r, fmt.Errorf("wrk had %d errors at %s", r.Errors, base)
	}
	return r, err
}
