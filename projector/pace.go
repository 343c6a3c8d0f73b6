package projector

import (
	"context"
	"fmt"
	"time"
)

// A replay paces itself: it pauses between its batches while what others feel is more than paceFactor times
// what they feel when there is no replay.
const (
	paceFactor = 2
	paceEvery  = time.Second
	// What is below these is no trouble to anybody, however many times the idle value it is.
	paceFloorLookup = 2 * time.Millisecond
	paceFloorIngest = 100 * time.Millisecond
	longestPause    = time.Second
	shortestPause   = 10 * time.Millisecond
)

// pace is used by one goroutine.
type pace struct {
	lookup, ingest feeling
	pause          time.Duration
}

// feeling is something that others feel, and how it is while no replay is under way.
type feeling struct {
	name        string
	floor, idle time.Duration
	now         time.Duration
}

func newPace() *pace {
	return &pace{
		lookup: feeling{name: "lookups' p99", floor: paceFloorLookup},
		ingest: feeling{name: "ingest lag", floor: paceFloorIngest},
	}
}

// learn takes in what is felt without a replay.
func (p *pace) learn(lookup, ingest time.Duration) {
	p.lookup.learn(lookup)
	p.ingest.learn(ingest)
}

// learn follows slowly, so that one bad second does not count for much.
func (f *feeling) learn(now time.Duration) {
	if f.idle == 0 {
		f.idle = now
	}
	f.idle += (now - f.idle) / 8
}

// times is how many times the idle value it is now.
func (f *feeling) times() float64 { return float64(f.now) / float64(max(f.idle, f.floor)) }

// adjust decides how long to pause between batches, given what is felt now, and says why it does.
func (p *pace) adjust(lookup, ingest time.Duration) (status string) {
	p.lookup.now, p.ingest.now = lookup, ingest
	worst := &p.lookup
	if p.ingest.times() > worst.times() {
		worst = &p.ingest
	}
	if worst.times() <= paceFactor {
		if p.pause /= 2; p.pause < shortestPause {
			p.pause = 0
		}
		return ""
	}
	p.pause = min(max(2*p.pause, 5*shortestPause), longestPause)
	return fmt.Sprintf("slowed down: the %s is %v, %.1f times its idle value", worst.name, worst.now.Round(100*time.Microsecond), worst.times())
}

// How long the newest message took from the broker into the log; nothing when none came for a while.
const ingestLagSQL = `
select greatest(extract(epoch from received_at - stamped_at), 0)::float8
from inbox
where position = (select max(position) from inbox)
    and source = 'stan'
    and received_at > now() - interval '5 s'`

// feel asks what others feel right now. What cannot be asked is not felt.
func (p *Projector) feel(ctx context.Context) (lookup, ingest time.Duration) {
	if p.o.LookupP99 != nil {
		lookup = p.o.LookupP99()
	}
	ctx, cancel := context.WithTimeout(ctx, leadTimeout)
	defer cancel()
	var seconds float64
	if p.pool.QueryRow(ctx, ingestLagSQL).Scan(&seconds) == nil {
		ingest = time.Duration(seconds * float64(time.Second))
	}
	return lookup, ingest
}

const setStatusSQL = `
update generations
set status = $2
where name = $1
    and status <> $2`

// paced makes a projection pause between its batches, as others need it.
func (x *projection) paced(ctx context.Context, p *pace) {
	due := time.Now().Add(paceEvery)
	x.progress = func() {
		if time.Now().After(due) {
			status := p.adjust(x.feel(ctx))
			if _, err := x.pool.Exec(ctx, setStatusSQL, x.gen.name, status); err != nil {
				x.log.Debug("status not written", "error", err)
			}
			if status != "" {
				x.log.Info("replay slowed down", "pause", p.pause, "why", status)
			}
			due = time.Now().Add(paceEvery)
		}
		if p.pause > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(p.pause):
			}
		}
	}
}
