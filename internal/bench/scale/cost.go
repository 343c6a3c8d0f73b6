package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/procfs"

	"orderbox/internal/bench/world"
)

// The engines whose time is counted. The database's processes belong to whom they work for.
const (
	theBroker    = "broker"
	theIngest    = "ingest"
	theProjector = "projector"
	theQuery     = "query"
	theLoad      = "load" // publish, or wrk

	database = "PostgreSQL for " // ingest, projector or query
	theLog   = "PostgreSQL's log writer"
	thePages = "PostgreSQL's checkpointer, writer and vacuum"
)

// engines are all of them, in the order of the flow.
var engines = []string{theLoad, theBroker, theIngest, database + theIngest, theProjector, database + theProjector, theQuery,
	database + theQuery, theLog, thePages}

// cost is processor time by engine, in seconds.
type cost map[string]float64

func (c cost) total() (sum float64) {
	for _, seconds := range c {
		sum += seconds
	}
	return sum
}

// without is the cost of all engines but some.
func (c cost) without(some ...string) cost {
	rest := maps.Clone(c)
	maps.DeleteFunc(rest, func(engine string, _ float64) bool { return slices.Contains(some, engine) })
	return rest
}

// reading is what the counters say at a time.
type reading struct {
	at   time.Time
	cost cost
	busy float64 // seconds of all processors together, whoever had them
	wal  float64 // bytes that PostgreSQL's log has had
	lead float64 // seconds, of the cost, of connections that projectors write over
}

// meter reads the counters. The broker is in this process, and who publishes is a child of it that has ended when it is read.
type meter struct {
	world      *world.World
	postmaster int
	processors procfs.FS
	running    map[*world.Service]string // the engine that each is
}

func newMeter(ctx context.Context, w *world.World) (*meter, error) {
	processors, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, err
	}
	m := &meter{world: w, processors: processors, running: map[*world.Service]string{}}
	backend, err := m.stat(int(w.Conn.PgConn().PID()))
	m.postmaster = backend.PPID
	return m, err
}

func (m *meter) stat(pid int) (procfs.ProcStat, error) {
	p, err := m.processors.Proc(pid)
	if err != nil {
		return procfs.ProcStat{}, err
	}
	return p.Stat()
}

// ticks are what the kernel counts a process's time in.
const ticks = 100 // per second

const backendsSQL = `
select pid, case
        when application_name in ('orderbox ingest', 'orderbox projector', 'orderbox query')
            then replace(application_name, 'orderbox ', 'PostgreSQL for ')
        when backend_type = 'walwriter' then 'PostgreSQL''s log writer'
        when backend_type <> 'client backend' then 'PostgreSQL''s checkpointer, writer and vacuum'
        else ''
    end, application_name = 'orderbox projector' and pid in (select pid from pg_locks where locktype = 'advisory')
from pg_stat_activity
where pid <> pg_backend_pid()`

func (m *meter) read(ctx context.Context) (r reading, err error) {
	r = reading{at: time.Now(), cost: cost{}}
	if err := m.world.Conn.QueryRow(ctx, `select pg_current_wal_lsn() - '0/0'`).Scan(&r.wal); err != nil {
		return r, err
	}
	add := func(engine string, pid int) (float64, error) {
		p, err := m.stat(pid)
		r.cost[engine] += p.CPUTime()
		return p.CPUTime(), err
	}
	rows, err := m.world.Conn.Query(ctx, backendsSQL)
	if err != nil {
		return r, err
	}
	var pid int
	var engine string
	var leads bool
	if _, err = pgx.ForEachRow(rows, []any{&pid, &engine, &leads}, func() error {
		if engine == "" {
			return nil
		}
		seconds, _ := add(engine, pid) // it may have ended
		if leads {
			r.lead += seconds
		}
		return nil
	}); err != nil {
		return r, err
	}
	for s, engine := range m.running {
		if _, err := add(engine, s.PID()); err != nil {
			return r, fmt.Errorf("read what %s took: %w", engine, err)
		}
	}
	own, err := m.stat(os.Getpid())
	if err != nil {
		return r, err
	}
	r.cost[theBroker], r.cost[theLoad] = own.CPUTime(), float64(own.CUTime+own.CSTime)/ticks
	above, err := m.stat(m.postmaster)
	if err != nil {
		return r, err
	}
	r.cost[thePages] += float64(above.CUTime+above.CSTime) / ticks // with who vacuumed and has ended
	all, err := m.processors.Stat()
	t := all.CPUTotal
	r.busy = t.User + t.Nice + t.System + t.IRQ + t.SoftIRQ + t.Steal
	return r, err
}

// sample is what became of so many messages.
type sample struct {
	messages int
	seconds  float64
	cost     cost
	cores    float64 // that others left, on average
	wal      float64 // bytes
	lead     float64 // seconds, of the cost, of connections that projectors write over
}

// since is the sample from a reading until another.
func (r reading) since(before reading, messages, cores int) sample {
	s := sample{messages: messages, seconds: r.at.Sub(before.at).Seconds(), cost: cost{}, wal: r.wal - before.wal,
		lead: r.lead - before.lead}
	for engine, seconds := range r.cost {
		s.cost[engine] = max(0, seconds-before.cost[engine]) // one that ended took its time along
	}
	s.cores = max(0.01, float64(cores)-max(0, r.busy-before.busy-s.cost.total())/s.seconds)
	return s
}

// samples are the rounds of one measurement.
type samples []sample

func (s samples) median(of func(sample) float64) float64 {
	var values []float64
	for _, one := range s {
		values = append(values, of(one))
	}
	return median(values)
}

// rate is messages a second.
func (s samples) rate() float64 {
	return s.median(func(one sample) float64 { return float64(one.messages) / one.seconds })
}

// cores is what others left.
func (s samples) cores() float64 { return s.median(func(one sample) float64 { return one.cores }) }

// used is how many cores were busy with it.
func (s samples) used() float64 {
	return s.median(func(one sample) float64 { return one.cost.total() / one.seconds })
}

// of is the microseconds of the processors that a message takes of an engine.
func (s samples) of(engine string) float64 {
	return s.median(func(one sample) float64 { return 1e6 * one.cost[engine] / float64(one.messages) })
}

// micros is the same of all engines but some together.
func (s samples) micros(but ...string) float64 {
	return s.median(func(one sample) float64 { return 1e6 * one.cost.without(but...).total() / float64(one.messages) })
}

// wal is the bytes of PostgreSQL's log for a message.
func (s samples) wal() float64 {
	return s.median(func(one sample) float64 { return one.wal / float64(one.messages) })
}

// lead is the microseconds of the processors that a message takes of the connection that a projector writes over.
func (s samples) lead() float64 {
	return s.median(func(one sample) float64 { return 1e6 * one.lead / float64(one.messages) })
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// beyond is what a message takes of an engine beyond what the time takes in which nothing comes, in microseconds.
func (s samples) beyond(idle samples, engine string) float64 {
	perSecond := idle.median(func(one sample) float64 { return one.cost[engine] / one.seconds })
	return s.median(func(one sample) float64 {
		return 1e6 * (one.cost[engine] - perSecond*one.seconds) / float64(one.messages)
	})
}
