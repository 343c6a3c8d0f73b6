package faults_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"orderbox/internal/faults"
)

var (
	full   = flag.Bool("full", false, "try the whole fault matrix, which takes a quarter of an hour, and not a selection")
	update = flag.Bool("update", false, "with -full: write the table in docs/reliability.md")
)

// allFaults are the rows of the matrix. The wipe of the database is none of them: it is a loss by definition.
func allFaults() (all []faults.Fault) {
	for _, target := range faults.Targets {
		for _, kind := range faults.Kinds {
			if target != faults.Database || kind != faults.Wipe {
				all = append(all, faults.Fault{Target: target, Kind: kind})
			}
		}
	}
	return all
}

// singles are every fault at every stage.
func singles() (cells []cell) {
	for _, f := range allFaults() {
		for _, at := range stages {
			cells = append(cells, cell{at, []faults.Fault{f}})
		}
	}
	return cells
}

// pairs are every two faults, each pair at one stage, in turn.
func pairs() (cells []cell) {
	all := allFaults()
	for i, first := range all {
		for _, second := range all[i+1:] {
			cells = append(cells, cell{stages[len(cells)%len(stages)], []faults.Fault{first, second}})
		}
	}
	return cells
}

// selection is every fault once, so that each target meets every stage, and a few pairs.
func selection() (cells []cell) {
	const everyPair = 13
	for i := range allFaults() {
		cells = append(cells, singles()[i*len(stages)+i%len(stages)])
	}
	for i, c := range pairs() {
		if i%everyPair == everyPair-1 {
			cells = append(cells, c)
		}
	}
	return cells
}

// Whatever breaks, when it is whole again everything that the broker had confirmed is in the inbox exactly
// once, and judged; the laws hold; the service has come back by itself, as the same process unless that was
// what broke; and lookups were answered all the while, unless the one that answers them was what broke.
func TestFaultMatrix(t *testing.T) {
	cells, lanes := selection(), 1
	if *full {
		cells, lanes = slices.Concat(singles(), pairs()), 3
	}
	// Replays first: they take the longer the more there is in the log.
	slices.SortStableFunc(cells, func(a, b cell) int { return strings.Compare(b.at.letter(), a.at.letter()) })
	var mu sync.Mutex
	var outcomes []outcome
	began := time.Now()
	t.Cleanup(func() { // after the last lane
		if *full && *update && !t.Failed() {
			writeTable(t, outcomes, time.Since(began))
		}
	})
	for n := range lanes {
		t.Run(fmt.Sprintf("lane %d", n+1), func(t *testing.T) {
			t.Parallel()
			l := newLane(t, n+1)
			for i := n; i < len(cells); i += lanes {
				ok := t.Run(cells[i].String(), func(t *testing.T) {
					o := l.run(t, cells[i])
					t.Logf("recovered in %.1f s, %d lookups answered", o.recovery.Seconds(), o.answered)
					mu.Lock()
					defer mu.Unlock()
					outcomes = append(outcomes, o)
				})
				if !ok { // which may have left the world broken
					l = newLane(t, n+1)
				}
			}
		})
	}
}

const (
	reliability = "../../docs/reliability.md"
	begins      = "<!-- fault matrix: written by TestFaultMatrix -->\n"
	ends        = "<!-- end of the fault matrix -->\n"
)

// mustReadTable returns what stands before, between and behind the marks.
func mustReadTable(t *testing.T) (before, recorded, after string) {
	t.Helper()
	text, err := os.ReadFile(reliability)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begins)
	recorded, after, closed := strings.Cut(rest, ends)
	if !found || !closed {
		t.Fatalf("%s lacks the marks that the table stands between", reliability)
	}
	return before, recorded, after
}

// What is recorded is of every cell that there is, also of those that were added since.
func TestTheRecordedTableIsOfTheWholeMatrix(t *testing.T) {
	var all []outcome
	for _, c := range slices.Concat(singles(), pairs()) {
		all = append(all, outcome{cell: c, answered: 1})
	}
	_, recorded, _ := mustReadTable(t)
	shape := func(table string) string {
		_, rows, _ := strings.Cut(table, "\n") // the first line sums up
		return regexp.MustCompile(`[0-9]+(\.[0-9])?`).ReplaceAllString(rows, "N")
	}
	if got, want := shape(recorded), shape(table(all, 0)); got != want {
		t.Errorf("the tables of %s are not of the matrix as it is, run: task matrix\n%s\nwant\n%s", reliability, got, want)
	}
}

func writeTable(t *testing.T, outcomes []outcome, took time.Duration) {
	before, _, after := mustReadTable(t)
	if err := os.WriteFile(reliability, []byte(before+begins+table(outcomes, took)+ends+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// letter is a stage's name in the table of pairs.
func (s stage) letter() string { return string(rune('a' + slices.Index(stages, s))) }

func table(outcomes []outcome, took time.Duration) string {
	var b strings.Builder
	lookups, longest := 0, outcome{}
	for _, o := range outcomes {
		if o.lookable() {
			lookups += o.answered
		}
		if o.recovery > longest.recovery {
			longest = o
		}
	}
	fmt.Fprintf(&b, "%d cells in %.0f minutes, all passed. %d lookups were asked while broker or database were broken, and all answered. The longest recovery: %.1f s, after %v.\n",
		len(outcomes), took.Minutes(), lookups, longest.recovery.Seconds(), longest.cell)

	b.WriteString("\nSeconds to recover from one fault:\n\n| |")
	for _, s := range stages {
		fmt.Fprintf(&b, " %s: %s |", s.letter(), s)
	}
	b.WriteString(" lookups meanwhile |\n|---|" + strings.Repeat("---|", len(stages)+1) + "\n")
	for _, f := range allFaults() {
		fmt.Fprintf(&b, "| %s |", f)
		answered := 0
		for _, s := range stages {
			o := find(outcomes, cell{s, []faults.Fault{f}})
			fmt.Fprintf(&b, " %.1f |", o.recovery.Seconds())
			if o.lookable() {
				answered += o.answered
			}
		}
		fmt.Fprintf(&b, " %s |\n", cmp.Or(count(answered), "the only replica is struck"))
	}

	b.WriteString("\nSeconds to recover from two, and the stage:\n\n| |")
	all := allFaults()
	for _, f := range all[1:] {
		fmt.Fprintf(&b, " %s |", f)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(all)-1) + "\n")
	for i, first := range all[:len(all)-1] {
		fmt.Fprintf(&b, "| %s |%s", first, strings.Repeat(" |", i))
		for _, second := range all[i+1:] {
			for _, c := range pairs() {
				if c.faults[0] == first && c.faults[1] == second {
					fmt.Fprintf(&b, " %s %.1f |", c.at.letter(), find(outcomes, c).recovery.Seconds())
				}
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func count(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d answered, none failed", n)
}

func find(outcomes []outcome, c cell) outcome {
	i := slices.IndexFunc(outcomes, func(o outcome) bool { return o.String() == c.String() })
	if i < 0 {
		return outcome{cell: c}
	}
	return outcomes[i]
}
