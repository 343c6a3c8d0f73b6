package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"orderbox/internal/bench/world"
)

// metrics are a service's at a moment: those of the Go runtime that are looked at here.
type metrics struct {
	live        float64   // bytes of the heap that the last collection found in use
	collections float64   // garbage collections so far
	pauses      []pauseAt // how many pauses of the collector were at most that long
}

type pauseAt struct{ seconds, count float64 }

func scrape(ctx context.Context, s *world.Service) (m metrics, err error) {
	_, text, err := world.Get(ctx, s.URL+"/metrics")
	if err != nil {
		return m, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		v, _ := strconv.ParseFloat(value, 64) // of comments it is none
		switch {
		case name == "go_gc_heap_live_bytes":
			m.live = v
		case name == "go_gc_duration_seconds_count":
			m.collections = v
		case strings.HasPrefix(name, `go_sched_pauses_total_gc_seconds_bucket{le="`):
			le, _, _ := strings.Cut(strings.TrimPrefix(name, `go_sched_pauses_total_gc_seconds_bucket{le="`), `"`)
			seconds, err := strconv.ParseFloat(le, 64) // +Inf is one
			if err != nil {
				return m, fmt.Errorf("read the service's metrics: %w", err)
			}
			m.pauses = append(m.pauses, pauseAt{seconds, v})
		}
	}
	if m.live == 0 || m.pauses == nil {
		return m, fmt.Errorf("%s/metrics lacks the Go runtime's heap or pauses", s.URL)
	}
	return m, nil
}

// pauseP99 is the upper bound, in seconds, of the histogram's class in which the 99th of a hundred pauses since before
// lies, and how many there were.
func (m metrics) pauseP99(before metrics) (seconds float64, n int) {
	since := make([]pauseAt, len(m.pauses))
	for i, p := range m.pauses {
		since[i] = pauseAt{p.seconds, p.count}
		if i < len(before.pauses) {
			since[i].count -= before.pauses[i].count
		}
	}
	total := since[len(since)-1].count
	i := slices.IndexFunc(since, func(p pauseAt) bool { return p.count >= math.Ceil(0.99*total) })
	return since[i].seconds, int(total)
}

// resident is how much memory a process holds.
func resident(pid int) (bytes float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	field, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kib, err := strconv.ParseFloat(field, 64)
	return kib * 1024, err
}
