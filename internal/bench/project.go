package main

import (
	"context"
	"fmt"
	"time"

	"orderbox/internal/bench/world"
)

// projectBatch is how many messages the projector puts into one transaction.
const projectBatch = 2000

// project: from the log into the four tables. The messages are in the log before the stage starts.
func (b *bench) project(ctx context.Context) error {
	w, err := b.world(ctx, "small", 0)
	if err != nil {
		return err
	}
	if err := prepareRaw(ctx, w); err != nil {
		return err
	}
	f := figure{Row: b.row, What: "inbox to the four tables", Unit: "orders/s", Short: "project",
		Limit: "raw COPY into the same tables", Goal: goal{Ratio: true, Least: 0.6}}
	for range b.rounds {
		p, err := b.projected(ctx, w, 0)
		if err != nil {
			return err
		}
		if err := w.Rest(ctx); err != nil {
			return err
		}
		took, err := copyOrders(ctx, w, p.from, p.to)
		if err != nil {
			return err
		}
		limit := float64(p.to-p.from) / took.Seconds()
		f.Values, f.Limits = append(f.Values, p.orders), append(f.Limits, limit)
		b.say("%.0f orders/s; COPY %.0f orders/s", p.orders, limit)
	}
	absolute := figure{Row: b.row, What: "the same, absolute", Unit: f.Unit, Values: f.Values, Goal: goal{Least: 15_000}}
	b.figures = append(b.figures, f, absolute)
	return nil
}

// projection is how fast messages were projected, and which ones: those above from, up to to.
type projection struct {
	messages, orders float64 // per second
	from, to         int64
}

// projected puts a round's messages into the log and has them projected.
func (b *bench) projected(ctx context.Context, w *world.World, rubbish float64) (p projection, err error) {
	before, err := w.Balance(ctx)
	if err != nil {
		return p, err
	}
	if _, err := w.Append(ctx, stream(b.sizes.Messages, rubbish)); err != nil {
		return p, err
	}
	if err := w.Rest(ctx); err != nil {
		return p, err
	}
	begin, end, err := w.Project(ctx, nil)
	seconds := end.At.Sub(begin.At).Seconds()
	return projection{
		messages: float64(end.Position-begin.Position) / seconds,
		orders:   float64(end.Orders-begin.Orders) / seconds,
		from:     before.Received,
		to:       end.Position,
	}, err
}

// fourTables are an order's, parents first.
var fourTables = []string{"orders", "deliveries", "payments", "items"}

// copyOrders copies the orders of these positions once more, in transactions of as many as the projector's.
func copyOrders(ctx context.Context, w *world.World, from, to int64) (time.Duration, error) {
	generation, err := w.Generation(ctx)
	if err != nil {
		return 0, err
	}
	var transactions [][]*table
	for ; from < to; from += projectBatch {
		var tables []*table
		for _, name := range fourTables {
			t := &table{name: name}
			query := fmt.Sprintf("select t.* from %s.%s as t where position > %d and position <= %d order by position",
				generation, name, from, min(from+projectBatch, to))
			if err := t.read(ctx, w.Conn, query); err != nil {
				return 0, err
			}
			tables = append(tables, t)
		}
		transactions = append(transactions, tables)
	}
	return write(ctx, w.Conn, transactions)
}
