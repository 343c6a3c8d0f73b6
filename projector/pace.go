package projector

import (
	"context"
	"fmt"
	"math"
	runtimemetrics "runtime/metrics"
	"sync"
	"time"

	"orderbox/internal/retry"
)

// A replay paces itself: where somebody looks orders up it works on one core at most, a message or a small
// batch at a time, and pauses after each, all the longer while what others feel is more than paceFactor times
// what they feel when there is no replay. Where nobody does it works at full speed, unless ingest falls behind.
//
// That the pauses are many matters more than how long they are: while all processors work, nobody looks
// for requests that have come in, but for the runtime's own look every 10 ms.
const (
	paceFactor = 2
	paceEvery  = 500 * time.Millisecond
	// What is below these is no trouble to anybody, however many times the idle value it is.
	paceFloorLookup   = 100 * time.Microsecond
	paceFloorSchedule = 150 * time.Microsecond
	paceFloorIngest   = 100 * time.Millisecond
	// How many times as long as it has worked it pauses; BenchmarkLookupsDuringReplay shows what comes of it.
	leastPause = 1.5
	mostPause  = 12
	// gentleBatch is how many messages share a transaction while somebody looks orders up.
	gentleBatch = 100
)

// pace is adjusted by one goroutine and kept by two.
type pace struct {
	lookup, schedule, ingest feeling
	scheduled                runtimemetrics.Float64Histogram // as of the last time

	gentle bool // somebody looks orders up

	turn  sync.Mutex // held while one works or pauses, when there is to be a pause; guards pause
	pause float64    // times what the work before it took
}

// feeling is something that others feel, and how it is while no replay is under way.
type feeling struct {
	name        string
	floor, idle time.Duration
	now         time.Duration
}

func newPace() *pace {
	return &pace{
		lookup:   feeling{name: "lookups' p99", floor: paceFloorLookup},
		schedule: feeling{name: "wait for a processor, p99,", floor: paceFloorSchedule},
		ingest:   feeling{name: "ingest lag", floor: paceFloorIngest},
	}
}

// felt is what others feel at one moment. Without lookups neither they nor the processors matter.
type felt struct{ lookup, schedule, ingest time.Duration }

// learn takes in what is felt without a replay, slowly, so that one bad second does not count for much.
func (p *pace) learn(now felt) {
	for _, f := range []struct {
		feeling *feeling
		now     time.Duration
	}{{&p.lookup, now.lookup}, {&p.schedule, now.schedule}, {&p.ingest, now.ingest}} {
		if f.now == 0 { // nobody was there to feel it
			continue
		}
		if f.feeling.idle == 0 {
			f.feeling.idle = f.now
		}
		f.feeling.idle += (f.now - f.feeling.idle) / 8
	}
}

// times is how many times the idle value it is now.
func (f *feeling) times() float64 { return float64(f.now) / float64(max(f.idle, f.floor)) }

// begin starts a replay: gently when somebody looks orders up.
func (p *pace) begin(now felt) {
	p.gentle = now.lookup > 0
	p.set(p.least())
}

// least is the pause when nobody suffers.
func (p *pace) least() float64 {
	if p.gentle {
		return leastPause
	}
	return 0
}

func (p *pace) set(pause float64) {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.pause = pause
}

// pauses says whether there are any.
func (p *pace) pauses() bool {
	p.turn.Lock()
	defer p.turn.Unlock()
	return p.pause > 0
}

// adjust decides how long to pause, given what is felt now, and says why it gets slower.
func (p *pace) adjust(now felt) (status string) {
	p.lookup.now, p.schedule.now, p.ingest.now = now.lookup, now.schedule, now.ingest
	if p.gentle = now.lookup > 0; !p.gentle {
		p.schedule.now = 0
	}
	worst := &p.ingest
	for _, f := range []*feeling{&p.schedule, &p.lookup} {
		if f.times() > worst.times() {
			worst = f
		}
	}
	if worst.times() <= paceFactor {
		pause := p.pause * 3 / 4
		if pause < leastPause {
			pause = p.least()
		}
		p.set(pause)
		return ""
	}
	p.set(min(max(2*p.pause, 2*leastPause), mostPause))
	return fmt.Sprintf("slowed down: the %s is %v, %.1f times its idle value", worst.name, worst.now.Round(10*time.Microsecond), worst.times())
}

// keep does a piece of work and then pauses as long as is due, all the while nothing else being done.
// Without pauses it just does it.
func (p *pace) keep(ctx context.Context, work func()) {
	if !p.pauses() {
		work()
		return
	}
	p.turn.Lock()
	defer p.turn.Unlock()
	begun := time.Now()
	work()
	_ = retry.Wait(ctx, time.Duration(p.pause*float64(time.Since(begun)))) // its end is noticed by who works next
}

// batch is how many messages are to share a transaction.
func (p *pace) batch(usual int) int {
	if p.gentle {
		return min(gentleBatch, usual)
	}
	return usual
}

const schedulingMetric = "/sched/latencies:seconds"

// scheduling returns the 99th percentile of the time that this process's goroutines have waited for a
// processor since it was asked last. It has no part of what the operating system makes them wait.
func (p *pace) scheduling() time.Duration {
	sample := []runtimemetrics.Sample{{Name: schedulingMetric}}
	runtimemetrics.Read(sample)
	if sample[0].Value.Kind() != runtimemetrics.KindFloat64Histogram {
		return 0
	}
	h := sample[0].Value.Float64Histogram()
	var total uint64
	counts := make([]uint64, len(h.Counts))
	for i, n := range h.Counts {
		if counts[i] = n; i < len(p.scheduled.Counts) {
			counts[i] -= p.scheduled.Counts[i]
		}
		total += counts[i]
	}
	p.scheduled.Counts = append(p.scheduled.Counts[:0], h.Counts...)
	above := total / 100
	for i := len(counts) - 1; i >= 0; i-- {
		if counts[i] > above {
			if bound := h.Buckets[i+1]; !math.IsInf(bound, 1) {
				return time.Duration(bound * float64(time.Second))
			}
			return time.Duration(h.Buckets[i] * float64(time.Second))
		}
		above -= counts[i]
	}
	return 0
}

// How long the newest message took from the broker into the log; nothing when none came for a while. The two clocks are
// those of two machines, and may jump: what looks longer than a minute is theirs, or of an outage, and no replay's.
const ingestLagSQL = `
select extract(epoch from received_at - stamped_at)::float8
from inbox
where position = (select max(position) from inbox)
    and source <> 'operator'
    and received_at between now() - interval '5 s' and now()
    and received_at - stamped_at between interval '0' and interval '1 min'`

// feel asks what others feel right now. What cannot be asked is not felt.
func (p *Projector) feel(ctx context.Context, pace *pace) (now felt) {
	if p.o.LookupP99 != nil {
		now.lookup = p.o.LookupP99()
	}
	now.schedule = pace.scheduling()
	ctx, cancel := context.WithTimeout(ctx, leadTimeout)
	defer cancel()
	var seconds float64
	if p.pool.QueryRow(ctx, ingestLagSQL).Scan(&seconds) == nil {
		now.ingest = time.Duration(seconds * float64(time.Second))
	}
	return now
}

const setStatusSQL = `
update generations
set status = $2
where name = $1
    and status <> $2`

// paced makes a projection pause as others need it.
func (x *projection) paced(ctx context.Context, p *pace) {
	x.pace = p
	p.begin(x.feel(ctx, p))
	x.batch.Store(int64(p.batch(x.o.Batch)))
	due := time.Now().Add(paceEvery)
	x.progress = func() {
		if time.Now().Before(due) {
			return
		}
		status := p.adjust(x.feel(ctx, p))
		x.batch.Store(int64(p.batch(x.o.Batch)))
		if _, err := x.pool.Exec(ctx, setStatusSQL, x.gen.name, status); err != nil {
			x.log.Debug("status not written", "error", err)
		}
		x.log.Debug("replay paced", "pause", p.pause, "why", status)
		due = time.Now().Add(paceEvery)
	}
}
