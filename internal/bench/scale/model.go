package main

import (
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"orderbox/publisher"
)

// found is all that was measured.
type found struct {
	sources    map[string]*source // by its name
	appended   map[int]samples    // by how many appended at a time
	parted     map[int]samples    // by the number of partitions, of projectors and PostgreSQL
	transacted map[int][]float64  // seconds that projectors were in transactions, by orders
	followed   samples            // orders that a replica read when it started
	asked      samples            // lookups
	idle       samples            // while nothing came
	steady     map[int]samples    // by the messages a second
	whole      samples            // at full speed

	payload, logBytes, tableBytes float64 // of a message, in the log, and in the tables
}

// price is what a message takes of an engine at full speed: microseconds of the processors, from measurements of its stage alone.
type price struct {
	Engine string
	Full   float64 // at full speed
	Steady float64 // at the lowest of the steady rates, beyond what is spent when nothing comes
}

// prices are those of the engines that every message passes.
func (f *found) prices() (all []price) {
	stan, one := f.sources["stan"], f.parted[1]
	full := map[string]float64{
		theLoad:                 stan.published.of(theLoad),
		theBroker:               stan.published.of(theBroker) + stan.ingested.of(theBroker),
		theIngest:               stan.ingested.of(theIngest),
		database + theIngest:    stan.ingested.of(database + theIngest),
		theProjector:            one.of(theProjector),
		database + theProjector: one.of(database + theProjector),
		theQuery:                f.followed.of(theQuery),
		database + theQuery:     f.followed.of(database + theQuery),
		theLog:                  stan.ingested.of(theLog) + one.of(theLog),
		thePages:                stan.ingested.of(thePages) + one.of(thePages),
	}
	for _, engine := range engines {
		all = append(all, price{engine, full[engine], f.steady[slices.Min(slices.Collect(maps.Keys(f.steady)))].beyond(f.idle, engine)})
	}
	return all
}

// sum is the microseconds of all engines but some at full speed.
func (f *found) sum(but ...string) (micros float64) {
	c := cost{}
	for _, p := range f.prices() {
		c[p.Engine] = p.Full
	}
	return c.without(but...).total()
}

// serial is something that one at a time does, whatever cores there are.
type serial struct {
	What   string
	Micros float64 // of a processor that a message takes of it: the least that it can take
	Took   float64 // microseconds that it took here, with all waiting
	Parted bool    // each partition has its own
}

// Rate is the most messages a second that go through.
func (s serial) Rate() float64 { return 1e6 / s.Micros }

// serials are the serial parts, in the order of the flow.
func (f *found) serials() []serial {
	published, appended := f.sources["stan"].published, f.appended[1]
	return []serial{
		{"the broker's channel, were all that it does one thread's", published.of(theBroker), 1e6 / published.rate(), false},
		{"the appenders' lock, from the statement that takes it until its commit", appended.of(database + theIngest), 1e6 / appended.rate(), false},
		{projecting, f.parted[1].lead(), 1e6 * median(f.transacted[1]), true},
		{"a replica's follower, which reads one chunk after the other", max(f.followed.of(theQuery), f.followed.of(database+theQuery)), 1e6 / f.followed.rate(), false},
	}
}

const projecting = "the projector's transaction, of which one is open at a time"

// limit is the most messages a second, and what it is that allows no more.
type limit struct {
	Rate float64
	What string
}

// atMost is the model: messages go through at the rate of the slowest of the processors and the serial parts.
func (f *found) atMost(cores, micros float64, partitions int, serials ...serial) limit {
	least := limit{1e6 * cores / micros, "the processors"}
	for _, s := range serials {
		rate := s.Rate()
		if s.Parted {
			rate *= float64(partitions)
		}
		if rate < least.Rate {
			least = limit{rate, s.What}
		}
	}
	return least
}

// check is a rate that the model says beside the one that was measured.
type check struct {
	What, From     string
	Cores          float64
	Said, Measured float64
}

// Error is by how much the model says too much.
func (c check) Error() float64 { return c.Said/c.Measured - 1 }

// checks compare the model with rates that it was not made from: those of this run, with the cores that others left meanwhile, and those
// of docs/performance.md, with all.
func (f *found) checks(performance map[string]float64, cores float64) (all []check) {
	const here, there = "this run", "performance.md"
	serials := f.serials()
	lock, transaction := serials[1], serials[2]
	order := f.parted[1].micros()
	for n, s := range sorted(f.parted) {
		if n > 1 {
			all = append(all, check{fmt.Sprintf("projecting by %d partitions", n), here, s.cores(), f.atMost(s.cores(), order, n, transaction).Rate, s.rate()})
		}
	}
	all = append(all, check{"the whole way", here, f.whole.cores(), f.atMost(f.whole.cores(), f.sum(), 1, serials...).Rate, f.whole.rate()})
	one := f.parted[1]
	all = append(all, check{"projecting by one projector", here, one.cores(), f.atMost(one.cores(), order, 1, transaction).Rate, one.rate()})
	stan := f.sources["stan"].ingested
	ingesting := stan.micros(database+theProjector, database+theQuery, theLoad)
	all = append(all,
		check{"broker to committed inbox", there, cores, f.atMost(cores, ingesting, 1, lock).Rate, performance["broker to committed inbox"]},
		check{"inbox to the four tables", there, cores, f.atMost(cores, order, 1, transaction).Rate, performance["inbox to the four tables"]},
		check{"published to visible over HTTP", there, cores, f.atMost(cores, f.sum(), 1, serials...).Rate,
			performance["published to visible over HTTP, full speed, 10 % rubbish"] / ordersOf(0.1)})
	return all
}

// ordersOf is how many orders come of a message of which so many are rubbish.
func ordersOf(rubbish float64) float64 {
	const messages = 10_000
	orders := 0
	for m := range publisher.Messages(1, messages, rubbish) {
		if m.Verdict == publisher.VerdictOrder {
			orders++
		}
	}
	return float64(orders) / messages
}

// readPerformance reads the first figure of each row of docs/performance.md.
func readPerformance(file string) (map[string]float64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	figures := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		number, _, _ := strings.Cut(strings.TrimSpace(cells[2]), " ")
		if v, err := strconv.ParseFloat(strings.ReplaceAll(number, ",", ""), 64); err == nil && !math.IsNaN(v) {
			figures[strings.TrimSpace(cells[1])] = v
		}
	}
	for _, needed := range []string{"broker to committed inbox", "inbox to the four tables", "published to visible over HTTP, full speed, 10 % rubbish", "heap in use per order"} {
		if figures[needed] == 0 {
			return nil, fmt.Errorf("%s has no figure for: %s", file, needed)
		}
	}
	return figures, nil
}
