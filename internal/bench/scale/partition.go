package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"orderbox/inbox"
	"orderbox/internal/bench/world"
	"orderbox/publisher"
)

// partitions are databases that share the orders by their ids: a log and a projector each, on the one PostgreSQL.
type partitions []*world.World

// of is the number of the partition that an order belongs to.
func (p partitions) of(uid string) int {
	h := fnv.New32a()
	h.Write([]byte(uid))
	return int(h.Sum32() % uint32(len(p)))
}

// measurePartitions projects the same messages by one pipeline, by two, and so on.
func (s *scale) measurePartitions(ctx context.Context) (err error) {
	s.found.parted, s.found.transacted = map[int]samples{}, map[int][]float64{}
	into := map[int]partitions{}
	defer func() {
		for _, p := range into {
			for _, w := range p {
				err = errors.Join(err, w.Close())
			}
		}
	}()
	for _, n := range s.Partitions {
		for i := range n {
			w, err := s.world.Beside(ctx, fmt.Sprintf("partition_%d_of_%d", i+1, n))
			if err != nil {
				return err
			}
			into[n] = append(into[n], w)
		}
	}
	for range s.Rounds {
		seed := s.seed()
		for _, n := range s.Partitions {
			one, transacted, err := s.project(ctx, into[n], seed)
			if err != nil {
				return fmt.Errorf("%d partitions: %w", n, err)
			}
			s.found.parted[n], s.found.transacted[n] = append(s.found.parted[n], one), append(s.found.transacted[n], transacted)
			s.say("partitions %d: %.0f orders/s; projectors %.1f µs, PostgreSQL %.1f µs, %.1f µs in transactions each; %.2f of %.2f cores", n, samples{one}.rate(),
				samples{one}.of(theProjector), samples{one}.of(database+theProjector), 1e6*transacted, samples{one}.used(), one.cores)
		}
	}
	single := into[s.Partitions[0]][0]
	if err := s.weigh(ctx, single); err != nil {
		return err
	}
	return s.measureQuery(ctx, single)
}

// project projects a round's messages by all partitions at once. Their projectors stand ready, and the logs get their shares by
// transactions that are committed together. It says how long the projectors were in transactions, by orders.
func (s *scale) project(ctx context.Context, p partitions, seed uint64) (one sample, transacted float64, err error) {
	var projectors []*world.Service
	defer func() { err = errors.Join(err, s.stop(projectors...)) }()
	for _, w := range p {
		projector, err := s.serve(ctx, w, theProjector)
		if err != nil {
			return one, 0, err
		}
		projectors = append(projectors, projector)
	}
	for _, projector := range projectors {
		if err := projector.AwaitMetric(ctx, "orderbox_projector_leading", 1); err != nil {
			return one, 0, err
		}
	}
	fills, err := s.share(ctx, p, seed)
	if err != nil {
		return one, 0, err
	}
	orders, err := p.orders(ctx)
	if err != nil {
		return one, 0, err
	}
	if err := s.world.Rest(ctx); err != nil {
		return one, 0, err
	}
	before, err := s.meter.read(ctx)
	if err != nil {
		return one, 0, err
	}
	g, waiting := errgroup.WithContext(ctx)
	for i, w := range p {
		if err := fills[i].Commit(ctx); err != nil {
			return one, 0, err
		}
		g.Go(func() error {
			_, err := w.Await(waiting, 10*time.Millisecond, func(b world.Balance) bool { return b.Received > 0 && !b.Pending() })
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return one, 0, err
	}
	after, err := s.meter.read(ctx)
	if err != nil {
		return one, 0, err
	}
	now, err := p.orders(ctx)
	if err == nil && now-orders != int64(s.Messages) {
		err = fmt.Errorf("%d messages became %d orders", s.Messages, now-orders)
	}
	for _, projector := range projectors {
		seconds, failed := projector.Metric(ctx, "orderbox_projector_commit_seconds_sum")
		transacted, err = transacted+seconds/float64(s.Messages), errors.Join(err, failed)
	}
	one = after.since(before, s.Messages, runtime.NumCPU())
	one.cost = one.cost.without(theBroker, theLoad) // which is this process, that looked on
	return one, transacted, err
}

// orders is how many there are in all partitions.
func (p partitions) orders(ctx context.Context) (sum int64, err error) {
	for _, w := range p {
		b, err := w.Balance(ctx)
		if err != nil {
			return 0, err
		}
		sum += b.Orders
	}
	return sum, nil
}

// share copies each message into the log of its order's partition, by transactions that are yet to be committed.
func (s *scale) share(ctx context.Context, p partitions, seed uint64) ([]pgx.Tx, error) {
	rows := make([][][]any, len(p))
	n := int64(0)
	for m := range publisher.Messages(seed, s.Messages, 0) {
		n++
		i := p.of(m.OrderUID)
		rows[i] = append(rows[i], []any{inbox.SourceSTAN, fmt.Sprint(seed), n, time.Now(), m.Payload})
	}
	var fills []pgx.Tx
	for i, w := range p {
		tx, err := w.Conn.Begin(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"inbox"}, []string{"source", "channel", "sequence", "stamped_at", "payload"}, pgx.CopyFromRows(rows[i])); err != nil {
			return nil, fmt.Errorf("fill a partition: %w", err)
		}
		if _, err := tx.Exec(ctx, `select pg_notify($1, '')`, inbox.Notifications); err != nil {
			return nil, err
		}
		fills = append(fills, tx)
	}
	return fills, nil
}
