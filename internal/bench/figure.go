package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// figure is one line of the report: what was measured in each round, and beside it the limit in the same round.
type figure struct {
	Row, What, Unit string
	Short           string // for a plot with little room
	Values          []float64
	Limit           string // what it is; empty when there is none
	Limits          []float64
	Goal            goal
}

// goal is what a figure ought to reach: the ratio to its limit, or the value itself.
type goal struct {
	Ratio       bool
	Least, Most float64 // one of them; neither is no goal
	Large       bool    // it is one for large databases or long measurements only
}

// Scores are what the goal is about, one a round.
func (f figure) Scores() []float64 {
	if !f.Goal.Ratio {
		return f.Values
	}
	ratios := make([]float64, len(f.Values))
	for i, v := range f.Values {
		ratios[i] = v / f.Limits[i]
	}
	return ratios
}

// Met says whether the median reaches the goal.
func (f figure) Met() bool { return f.reaches(1) }

// reaches says whether the median reaches the goal made so many times easier.
func (f figure) reaches(easier float64) bool {
	m := median(f.Scores())
	return (f.Goal.Least == 0 || m >= f.Goal.Least/easier) && (f.Goal.Most == 0 || m <= f.Goal.Most*easier)
}

// margin is how far a ratio may miss its goal on whatever machine a --short run finds itself on.
const margin = 5

// farBelow names the figures whose ratio misses its goal by more than the margin.
func farBelow(figures []figure) error {
	var failures []error
	for _, f := range figures {
		if f.Goal.Ratio && !f.Goal.Large && !f.reaches(margin) {
			failures = append(failures, fmt.Errorf("row %s: %s: a ratio of %.2f is far from the goal of %s", f.Row, f.What, median(f.Scores()), f.GoalText()))
		}
	}
	return errors.Join(failures...)
}

// String is the figure in a line.
func (f figure) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %s: %s", f.Row, f.What, spread(f.Values, f.Unit))
	if f.Limit != "" {
		fmt.Fprintf(&b, "; %s: %s", f.Limit, spread(f.Limits, f.Unit))
	}
	if f.Goal.Ratio {
		fmt.Fprintf(&b, "; ratio %s", spread(f.Scores(), ""))
	}
	if g := f.GoalText(); g != "" {
		fmt.Fprintf(&b, "; goal %s: %s", g, f.Verdict())
	}
	return b.String()
}

// GoalText is the goal in words, empty when there is none.
func (f figure) GoalText() string {
	unit := f.Unit
	if f.Goal.Ratio {
		unit = ""
	}
	switch {
	case f.Goal.Least > 0:
		return "≥ " + number(f.Goal.Least, unit)
	case f.Goal.Most > 0:
		return "≤ " + number(f.Goal.Most, unit)
	default:
		return ""
	}
}

// Verdict says whether the goal was met.
func (f figure) Verdict() string {
	switch {
	case f.GoalText() == "":
		return ""
	case f.Met():
		return "met"
	default:
		return "not met"
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// spread is the median, and the least and the most when there are several.
func spread(values []float64, unit string) string {
	if len(values) == 1 {
		return number(values[0], unit)
	}
	return fmt.Sprintf("%s (%s–%s)", number(median(values), unit), number(slices.Min(values), ""), number(slices.Max(values), ""))
}

// number writes three digits at least.
func number(v float64, unit string) string {
	p := message.NewPrinter(language.English)
	text := p.Sprintf("%.0f", v)
	switch {
	case v == math.Trunc(v):
	case v < 10:
		text = p.Sprintf("%.2f", v)
	case v < 100:
		text = p.Sprintf("%.1f", v)
	}
	if unit == "" {
		return text
	}
	return text + " " + unit
}
