package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"iter"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/template"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// reportText is the report's prose, with the tables left out.
//
//go:embed scale.tmpl.md
var reportText string

// report writes scale.md and its plot into a directory.
func (s *scale) report(ctx context.Context, dir string) error {
	performance, err := readPerformance("../../docs/performance.md")
	if err != nil {
		return err
	}
	f := &s.found
	funcs := template.FuncMap{
		"prices": f.tablePrices, "sources": f.tableSources, "partitions": f.tablePartitions, "lock": f.tableLock,
		"serials": f.tableSerials, "machines": f.tableMachines, "rates": f.tableRates, "keep": f.tableKeep,
		"checks": func() string { return tableChecks(f.checks(performance, float64(runtime.NumCPU()))) },
		"number": number, "percent": percent,
	}
	t, err := template.New("scale.md").Funcs(funcs).Parse(reportText)
	if err != nil {
		return err
	}
	commit, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return fmt.Errorf("ask for the commit: %w", err)
	}
	var text bytes.Buffer
	if err := t.Execute(&text, map[string]any{
		"Sizes": s.sizes, "Commit": strings.TrimSpace(string(commit)), "Cores": runtime.NumCPU(), "Go": runtime.Version(),
		"Date": time.Now().UTC().Format(time.DateOnly), "Minutes": time.Since(s.began).Minutes(),
		"Payload": f.payload, "Heap": performance["heap in use per order"], "HeapMillion": performance["heap in use per order"] / 1e3, "Lookup": f.asked.of(theQuery), "LookupLoad": f.asked.of(theLoad),
		"Left": f.left(), "Used": f.parted[1].used() / f.parted[1].cores(),
		"Whole": f.sum(), "WholeOwn": f.sum(theLoad), "Replica": f.price(theQuery).Full, "ReplicaPrimary": f.price(database + theQuery).Full,
		"ReplicaPrimarySteady": f.price(database + theQuery).Steady, "LeastRate": slices.Min(s.Rates),
	}); err != nil {
		return err
	}
	plots := filepath.Join(dir, "scale")
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	if err := f.plot(filepath.Join(plots, "cores.svg")); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "scale.md"), text.Bytes(), 0o644)
}

// sorted ranges over a map in the order of its keys.
func sorted[K cmp.Ordered, V any](m map[K]V) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

// table is rows in Markdown, the first of which is the head.
func table(rows ...[]string) string {
	var text strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&text, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			text.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return text.String()
}

// number writes two digits at least.
func number(v float64) string {
	digits := 0
	if abs := math.Abs(v); abs != 0 && abs < 10 {
		digits = 1
		if abs < 1 {
			digits = 2
		}
	}
	return message.NewPrinter(language.English).Sprintf("%.*f", digits, v)
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

// left is the share of the processors that others left to what was measured.
func (f *found) left() float64 {
	var all samples
	for _, s := range []samples{f.sources["stan"].ingested, f.parted[1], f.whole, f.followed} {
		all = append(all, s...)
	}
	return all.cores() / float64(runtime.NumCPU())
}

func (f *found) price(engine string) price {
	prices := f.prices()
	return prices[slices.IndexFunc(prices, func(p price) bool { return p.Engine == engine })]
}

func (f *found) tablePrices() string {
	head := []string{"engine", "µs a message at full speed"}
	sums := []string{"**all, without the publisher**", bold(f.sum(theLoad))}
	for rate, s := range sorted(f.steady) {
		head = append(head, fmt.Sprintf("at %s/s", number(float64(rate))))
		var sum float64
		for _, engine := range engines {
			if engine != theLoad {
				sum += s.beyond(f.idle, engine)
			}
		}
		sums = append(sums, bold(sum))
	}
	rows := [][]string{append(head, "when nothing comes, ms a second")}
	for _, p := range f.prices() {
		name := p.Engine
		if name == theLoad {
			name = "the publisher, which is no part of the service"
		}
		row := []string{name, number(p.Full)}
		for _, s := range sorted(f.steady) {
			row = append(row, number(s.beyond(f.idle, p.Engine)))
		}
		rows = append(rows, append(row, number(f.idle.median(func(one sample) float64 { return 1e3 * one.cost[p.Engine] / one.seconds }))))
	}
	return table(append(rows, append(sums, ""))...)
}

func bold(v float64) string { return "**" + number(v) + "**" }

func (f *found) tableSources() string {
	rows := [][]string{{"source", "publishing alone", "broker, publishing", "broker, delivering", "ingest", "PostgreSQL for ingest", "the broker's files"}}
	for _, name := range []string{"stan", "jetstream"} {
		s := f.sources[name]
		micros := func(v float64) string { return number(v) + " µs" }
		rows = append(rows, []string{name, number(s.published.rate()) + " messages/s", micros(s.published.of(theBroker)), micros(s.ingested.of(theBroker)),
			micros(s.ingested.of(theIngest)), micros(s.ingested.of(database + theIngest)), number(median(s.stored)) + " B"})
	}
	return table(rows...)
}

func (f *found) tableLock() string {
	rows := [][]string{{"appenders at a time", "messages/s together", "cores in use", "cores that others left"}}
	for n, s := range sorted(f.appended) {
		rows = append(rows, []string{fmt.Sprint(n), number(s.rate()), number(s.used()), number(s.cores())})
	}
	return table(rows...)
}

func (f *found) tablePartitions() string {
	rows := [][]string{{"partitions", "orders/s together", "projectors, µs an order", "PostgreSQL for them", "its writers and vacuum", "together", "in transactions, µs an order", "cores in use", "cores that others left"}}
	for n, s := range sorted(f.parted) {
		rows = append(rows, []string{fmt.Sprint(n), number(s.rate()), number(s.of(theProjector)), number(s.of(database + theProjector)),
			number(s.of(theLog) + s.of(thePages)), number(s.micros()),
			number(1e6 * median(f.transacted[n])), number(s.used()), number(s.cores())})
	}
	return table(rows...)
}

func tableChecks(checks []check) string {
	rows := [][]string{{"rate", "measured in", "cores", "the model says", "measured", "the model is off by"}}
	for _, c := range checks {
		rows = append(rows, []string{c.What, c.From, number(c.Cores), number(c.Said), number(c.Measured), fmt.Sprintf("%+.0f %%", 100*c.Error())})
	}
	return table(rows...)
}

func (f *found) tableSerials() string {
	rows := [][]string{{"what one at a time does", "µs of a processor a message", "so it ends at", "µs that it took here, with waiting"}}
	for _, s := range f.serials() {
		rows = append(rows, []string{s.What, number(s.Micros), number(s.Rate()) + " messages/s", number(s.Took)})
	}
	return table(rows...)
}

// machineCores are those of machines that the model is asked about.
var machineCores = []int{2, 4, 8, 16, 32}

func (f *found) tableMachines() string {
	head := []string{"cores"}
	partitions := []int{1, 2, 4, 8}
	for _, p := range partitions {
		head = append(head, fmt.Sprintf("messages/s, P = %d", p), "limit")
	}
	rows := [][]string{head}
	for _, cores := range machineCores {
		row := []string{fmt.Sprint(cores)}
		for _, p := range partitions {
			l := f.atMost(float64(cores), f.sum(theLoad), p, f.serials()...)
			what, _, _ := strings.Cut(l.What, ",")
			row = append(row, number(l.Rate), what)
		}
		rows = append(rows, row)
	}
	return table(rows...)
}

// askedRates are messages a second that the model is asked about.
var askedRates = []float64{1_000, 5_000, 10_000, 20_000, 50_000, 100_000}

func (f *found) tableRates() string {
	rows := [][]string{{"messages/s", "broker", "ingest", "projector", "PostgreSQL", "each query replica", "PostgreSQL's log", "broker's files", "network of PostgreSQL", "serial parts that end before"}}
	cores := func(rate float64, engines ...string) string {
		var micros float64
		for _, e := range engines {
			micros += f.price(e).Full
		}
		return number(rate * micros / 1e6)
	}
	megabytes := func(bytes float64) string { return number(bytes/1e6) + " MB/s" }
	wal, stored := f.sources["stan"].ingested.wal()+f.parted[1].wal(), median(f.sources["stan"].stored)
	for _, rate := range askedRates {
		var ends []string
		for _, s := range f.serials() {
			if rate > s.Rate() {
				what, _, _ := strings.Cut(s.What, ",")
				ends = append(ends, what)
			}
		}
		rows = append(rows, []string{number(rate), cores(rate, theBroker), cores(rate, theIngest), cores(rate, theProjector),
			cores(rate, database+theIngest, database+theProjector, database+theQuery, theLog, thePages), cores(rate, theQuery),
			megabytes(rate * wal), megabytes(rate * stored), megabytes(rate * hops * f.payload), cmp.Or(strings.Join(ends, "; "), "none")})
	}
	return table(rows...)
}

// hops are how often a message's bytes go to PostgreSQL or from it: from ingest, to the projector, from it, and to one replica.
const hops = 4

func (f *found) tableKeep() string {
	rows := [][]string{{"what", "a message", "a million", "a year at 100 messages/s", "a year at 1,000/s", "days until 1 TB at 100/s"}}
	const year = 365 * 86_400
	stan := f.sources["stan"]
	for _, k := range []struct {
		what  string
		bytes float64
	}{
		{"the log, indexes included: kept for as long as one likes", f.logBytes},
		{"a generation's tables: kept", f.tableBytes},
		{"the log and one generation", f.logBytes + f.tableBytes},
		{"PostgreSQL's write-ahead log: recycled, or archived for point-in-time recovery", stan.ingested.wal() + f.parted[1].wal()},
		{"STAN's files: needed until the log is backed up", median(stan.stored)},
		{"JetStream's files: needed until the log is backed up", median(f.sources["jetstream"].stored)},
	} {
		rows = append(rows, []string{k.what, number(k.bytes) + " B", number(k.bytes/1e3) + " GB", number(k.bytes*100*year/1e12) + " TB",
			number(k.bytes*1000*year/1e12) + " TB", number(1e12 / (k.bytes * 100 * 86_400))})
	}
	return table(rows...)
}
