package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"orderbox/internal/bench/world"
)

// machine is where a run was made, for whoever compares.
type machine struct {
	CPU, System, Kernel, Go, Postgres, Nginx, Commit, Date string
	Cores                                                  int
	MemoryGiB                                              float64
	Minutes                                                float64 // that the run took
}

func thisMachine(ctx context.Context, w *world.World, began time.Time) (m machine, err error) {
	m = machine{
		CPU:     field("/proc/cpuinfo", "model name", ":"),
		System:  strings.Trim(field("/etc/os-release", "PRETTY_NAME", "="), `"`),
		Go:      strings.TrimPrefix(runtime.Version(), "go"),
		Nginx:   strings.TrimPrefix(output(ctx, "nginx", "-v"), "nginx version: nginx/"),
		Commit:  output(ctx, "git", "rev-parse", "--short", "HEAD"),
		Date:    time.Now().UTC().Format(time.DateOnly),
		Cores:   runtime.NumCPU(),
		Minutes: time.Since(began).Minutes(),
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return m, err
	}
	m.Kernel = strings.TrimSpace(string(kernel))
	kib, _ := strconv.ParseFloat(strings.TrimSuffix(field("/proc/meminfo", "MemTotal", ":"), " kB"), 64)
	m.MemoryGiB = kib / (1 << 20)
	if err := w.Conn.QueryRow(ctx, `show server_version`).Scan(&m.Postgres); err != nil {
		return m, fmt.Errorf("ask PostgreSQL for its version: %w", err)
	}
	m.Postgres, _, _ = strings.Cut(m.Postgres, " ")
	return m, nil
}

// field is what follows a name in a file of lines, and empty when there is none.
func field(file, name, separator string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, separator); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// output is what a program says, and empty when it cannot.
func output(ctx context.Context, name string, arguments ...string) string {
	out, err := exec.CommandContext(ctx, name, arguments...).CombinedOutput()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
