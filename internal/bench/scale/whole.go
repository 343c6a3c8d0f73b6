package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/internal/bench/load"
	"orderbox/internal/bench/world"
	"orderbox/publisher"
)

// seed is one that no earlier messages were made from.
func (s *scale) seed() uint64 { return rand.Uint64() }

// publish has another process make and publish orders, so that its time is not the broker's. Rate 0 is as fast as it goes, and
// seed 0 any seed.
func (s *scale) publish(ctx context.Context, source string, messages, rate int, seed uint64) error {
	if seed == 0 {
		seed = s.seed()
	}
	return s.world.RunOther(ctx, s.publisher, "--quiet", "--source", source, "--count", fmt.Sprint(messages),
		"--rate", fmt.Sprint(rate), "--seed", fmt.Sprint(seed))
}

// measureWhole sends messages all the way, from the publisher to what is looked up, at steady rates by turns and as fast as it goes.
// Each stage is a process.
func (s *scale) measureWhole(ctx context.Context) (err error) {
	services := map[string]*world.Service{}
	defer func() {
		for _, service := range services {
			err = errors.Join(err, s.stop(service))
		}
	}()
	for _, stage := range []string{theIngest, theProjector, theQuery} {
		if services[stage], err = s.serve(ctx, s.world, stage); err != nil {
			return err
		}
	}
	// What was ingested before, by itself, is yet to be projected.
	if _, err := s.world.Await(ctx, 50*time.Millisecond, func(b world.Balance) bool { return b.Orders > 0 && !b.Pending() }); err != nil {
		return err
	}
	if err := services[theQuery].Ready(ctx); err != nil {
		return err
	}
	if err := s.world.Settle(ctx); err != nil {
		return err
	}
	s.found.steady = map[int]samples{}
	for range s.Rounds {
		idle, err := s.nothing(ctx)
		if err != nil {
			return err
		}
		s.found.idle = append(s.found.idle, idle)
		for _, rate := range s.Rates {
			one, err := s.send(ctx, services[theQuery], int(float64(rate)*s.Hold.Seconds()), rate)
			if err != nil {
				return err
			}
			s.found.steady[rate] = append(s.found.steady[rate], one)
			s.say("steady %d messages/s: %.1f µs each, %.2f of %.2f cores", rate, samples{one}.micros(), samples{one}.used(), one.cores)
		}
		if err := s.world.Rest(ctx); err != nil {
			return err
		}
		one, err := s.send(ctx, services[theQuery], s.Messages, 0)
		if err != nil {
			return err
		}
		s.found.whole = append(s.found.whole, one)
		s.say("whole: %.0f messages/s, %.1f µs each, %.2f of %.2f cores", samples{one}.rate(), samples{one}.micros(), samples{one}.used(), one.cores)
	}
	return nil
}

// nothing is what all stages take while nothing comes.
func (s *scale) nothing(ctx context.Context) (sample, error) {
	before, err := s.meter.read(ctx)
	if err != nil {
		return sample{}, err
	}
	select {
	case <-time.After(s.Hold):
	case <-ctx.Done():
		return sample{}, context.Cause(ctx)
	}
	after, err := s.meter.read(ctx)
	return after.since(before, 0, runtime.NumCPU()), err
}

// send publishes orders, at a rate or as fast as it goes, until the last can be looked up.
func (s *scale) send(ctx context.Context, query *world.Service, messages, rate int) (sample, error) {
	seed, last := s.seed(), ""
	for m := range publisher.Messages(seed, messages, 0) {
		last = m.OrderUID
	}
	before, err := s.meter.read(ctx)
	if err != nil {
		return sample{}, err
	}
	if err := s.publish(ctx, "stan", messages, rate, seed); err != nil {
		return sample{}, err
	}
	if err := query.AwaitOrder(ctx, last, 10*time.Millisecond); err != nil {
		return sample{}, err
	}
	after, err := s.meter.read(ctx)
	return after.since(before, messages, runtime.NumCPU()), err
}

// measureQuery starts a replica that reads all orders of a world, and looks some of them up as fast as it goes.
func (s *scale) measureQuery(ctx context.Context, w *world.World) error {
	for range s.Rounds {
		if err := s.ask(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

func (s *scale) ask(ctx context.Context, w *world.World) (err error) {
	b, err := w.Balance(ctx)
	if err != nil {
		return err
	}
	before, err := s.meter.read(ctx)
	if err != nil {
		return err
	}
	before.cost[theQuery] = 0 // it is not there yet
	replica, err := s.serve(ctx, w, theQuery)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop(replica)) }()
	if err := filled(ctx, replica); err != nil {
		return err
	}
	ready, err := s.meter.read(ctx)
	if err != nil {
		return err
	}
	ids := filepath.Join(s.dir, "ids")
	if err := writeIDs(ctx, w, ids); err != nil {
		return err
	}
	begin, err := s.meter.read(ctx)
	if err != nil {
		return err
	}
	const threads, connections = 2, 64
	answered, err := load.Wrk(ctx, load.Options{URL: replica.URL, Before: world.OrderPath, IDs: ids, Threads: threads, Connections: connections,
		Duration: max(time.Second, s.Hold/2), Timeout: 2 * time.Second})
	if err != nil {
		return err
	}
	end, err := s.meter.read(ctx)
	if err != nil {
		return err
	}
	followed := ready.since(before, int(b.Orders), runtime.NumCPU())
	asked := end.since(begin, int(answered.Requests), runtime.NumCPU())
	s.found.followed, s.found.asked = append(s.found.followed, followed), append(s.found.asked, asked)
	s.say("query: followed %d orders, %.1f µs each, PostgreSQL %.1f µs; %.0f GET/s, %.1f µs each", b.Orders, samples{followed}.of(theQuery),
		samples{followed}.of(database+theQuery), samples{asked}.rate(), samples{asked}.of(theQuery))
	return nil
}

// filled waits until a replica has all orders. It is asked seldom, for that costs the replica something.
func filled(ctx context.Context, replica *world.Service) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for {
		if code, _, err := world.Get(ctx, replica.URL+"/readyz"); err == nil && code == http.StatusOK {
			return nil
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// writeIDs writes the ids of orders into a file, a line each.
func writeIDs(ctx context.Context, w *world.World, file string) error {
	generation, err := w.Generation(ctx)
	if err != nil {
		return err
	}
	rows, err := w.Conn.Query(ctx, `select order_uid from `+generation+`.orders limit 50000`)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(strings.Join(ids, "\n")+"\n"), 0o600)
}

const logSizeSQL = `
select sum(pg_total_relation_size(relid)) / (select count(*) from inbox), (select avg(octet_length(payload)) from inbox)
from pg_partition_tree('inbox')
where isleaf`

const tablesSizeSQL = `
select sum(pg_total_relation_size(c.oid)) / (select reltuples from pg_class where oid = format('%I.orders', n.nspname)::regclass)
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where c.relkind = 'r'
    and n.nspname = (select name from generations where state = 'current')
group by n.nspname`

// weigh asks how large a message is in the log and in the tables.
func (s *scale) weigh(ctx context.Context, w *world.World) error {
	if err := w.Settle(ctx); err != nil {
		return err
	}
	if err := w.Conn.QueryRow(ctx, logSizeSQL).Scan(&s.found.logBytes, &s.found.payload); err != nil {
		return fmt.Errorf("weigh the log: %w", err)
	}
	if err := w.Conn.QueryRow(ctx, tablesSizeSQL).Scan(&s.found.tableBytes); err != nil {
		return fmt.Errorf("weigh the tables: %w", err)
	}
	return nil
}
