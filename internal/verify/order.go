package verify

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// OrderExample is one order that appears, vanishes, changes or moves.
type OrderExample struct {
	OrderUID string `json:"order_uid"`
	// Before and After are the positions of the messages that it comes from; 0 where there is no such order.
	Before int64 `json:"before,omitempty"`
	After  int64 `json:"after,omitempty"`
	// Fields are what differs in one that changes: the first fifty, and how many more there are.
	Fields     []FieldDiff `json:"fields,omitempty"`
	MoreFields int         `json:"more_fields,omitempty"`
}

const maxFields = 50

// FieldDiff is a field of an order by its JSON Pointer. The values are personal data: they are nil unless
// they were asked for, and where there is no such field.
type FieldDiff struct {
	Path   string  `json:"path"`
	Before *string `json:"before,omitempty"`
	After  *string `json:"after,omitempty"`
}

// placedOrder is where an order comes from.
type placedOrder struct {
	uid      string
	position int64
	digest   string
}

// placed is the order of a fate; ok is false when it is none.
func (f *fate) placed() (o placedOrder, ok bool) {
	r := f.one(inOrders)
	if r == nil {
		return o, false
	}
	return placedOrder{uid: string(r[1]), position: f.position, digest: string(r[2])}, true
}

// settleAt bounds how many orders wait for the other side's word.
const settleAt = 1000

// order compares what orders the two sides have from one message.
func (c *comparison) order(ctx context.Context, b, a *fate) error {
	before, was := b.placed()
	after, is := a.placed()
	if was && is && before.uid == after.uid {
		if fields := c.fields(b, a); len(fields) > 0 {
			c.diff.Orders.Change++
			c.exampleOf(&c.diff.Examples.Orders.Change, before, after, fields)
		}
		return nil
	}
	if was {
		c.gone = append(c.gone, before)
	}
	if is {
		c.come = append(c.come, after)
	}
	if len(c.gone)+len(c.come) < settleAt {
		return nil
	}
	return c.settleOrders(ctx)
}

// settleOrders asks the other side about the orders that stand on one side only. One that is there after
// all, from another message, is counted where it is gone from.
func (c *comparison) settleOrders(ctx context.Context) error {
	there, err := c.ordersOf(ctx, c.diff.To, c.gone)
	if err != nil {
		return err
	}
	counts, examples := &c.diff.Orders, &c.diff.Examples.Orders
	for _, before := range c.gone {
		after, ok := there[before.uid]
		switch {
		case !ok:
			counts.Vanish++
			c.exampleOf(&examples.Vanish, before, placedOrder{}, nil)
		case before.digest == after.digest:
			counts.Move++
			c.exampleOf(&examples.Move, before, after, nil)
		default:
			counts.Change++
			if len(examples.Change) >= c.show.Examples {
				continue
			}
			fields, err := c.fieldsApart(ctx, before, after)
			if err != nil {
				return err
			}
			c.exampleOf(&examples.Change, before, after, fields)
		}
	}
	if there, err = c.ordersOf(ctx, c.diff.From, c.come); err != nil {
		return err
	}
	for _, after := range c.come {
		if _, ok := there[after.uid]; !ok {
			counts.Appear++
			c.exampleOf(&examples.Appear, placedOrder{}, after, nil)
		}
	}
	c.gone, c.come = c.gone[:0], c.come[:0]
	return nil
}

func (c *comparison) exampleOf(kind *[]OrderExample, before, after placedOrder, fields []FieldDiff) {
	if len(*kind) >= c.show.Examples {
		return
	}
	shown := fields[:min(len(fields), maxFields)]
	*kind = append(*kind, OrderExample{
		OrderUID: max(before.uid, after.uid), // the same, or the only one
		Before:   before.position, After: after.position,
		Fields: shown, MoreFields: len(fields) - len(shown),
	})
}

const ordersByUIDSQL = `
select order_uid, position, digest::text
from orders
where order_uid = any($1)
    and position <= $2`

// ordersOf returns what a generation has of the orders, by order_uid.
func (c *comparison) ordersOf(ctx context.Context, generation string, orders []placedOrder) (map[string]placedOrder, error) {
	there := make(map[string]placedOrder, len(orders))
	if len(orders) == 0 {
		return there, nil
	}
	uids := make([]string, len(orders))
	for i, o := range orders {
		uids[i] = o.uid
	}
	if _, err := c.tx.Exec(ctx, enterGenerationSQL, generation); err != nil {
		return nil, err
	}
	rows, err := c.tx.Query(ctx, ordersByUIDSQL, uids, c.diff.At)
	if err != nil {
		return nil, err
	}
	var o placedOrder
	_, err = pgx.ForEachRow(rows, []any{&o.uid, &o.position, &o.digest}, func() error {
		there[o.uid] = o
		return nil
	})
	return there, err
}

// fieldsApart is fields for an order that comes from different messages.
func (c *comparison) fieldsApart(ctx context.Context, before, after placedOrder) ([]FieldDiff, error) {
	b, err := c.fateAt(ctx, c.diff.From, before.position)
	if err != nil {
		return nil, err
	}
	a, err := c.fateAt(ctx, c.diff.To, after.position)
	if err != nil {
		return nil, err
	}
	return c.fields(b, a), nil
}

func (c *comparison) fateAt(ctx context.Context, generation string, position int64) (*fate, error) {
	s, err := openStream(ctx, c.tx, "at", generation, reach{from: position, to: position, decision: c.decision})
	if err != nil {
		return nil, err
	}
	f, err := s.next(ctx)
	if err != nil {
		return nil, err
	}
	return f, s.close(ctx)
}

// fields are the fields of an order in which two fates differ. What is made from other fields, its digest
// and its date as an instant, is none: where only that differs, the tables tell.
func (c *comparison) fields(b, a *fate) (fields []FieldDiff) {
	fields = c.rowFields(fields, "", inOrders, b.one(inOrders), a.one(inOrders))
	fields = c.rowFields(fields, "/delivery", inDeliveries, b.one(inDeliveries), a.one(inDeliveries))
	fields = c.rowFields(fields, "/payment", inPayments, b.one(inPayments), a.one(inPayments))
	before, after := b.rows[inItems], a.rows[inItems]
	for i := range max(len(before), len(after)) {
		var was, is row
		if i < len(before) {
			was = before[i]
		}
		if i < len(after) {
			is = after[i]
		}
		fields = c.rowFields(fields, fmt.Sprintf("/items/%d", i), inItems, was, is)
	}
	return fields
}

// rowFields appends the fields in which two rows differ; either may be nil.
func (c *comparison) rowFields(fields []FieldDiff, path string, table int, before, after row) []FieldDiff {
	for i, column := range c.before.columns(table) {
		switch column {
		case "position", "line", "digest", "date_created":
			continue
		}
		was, is := before.text(i), after.text(i)
		if was == is || was != nil && is != nil && *was == *is {
			continue
		}
		if !c.show.Values {
			was, is = nil, nil
		}
		fields = append(fields, FieldDiff{Path: path + "/" + strings.TrimSuffix(column, "_text"), Before: was, After: is})
	}
	return fields
}

// text is a column's value; nil when it is null or there is no row.
func (r row) text(column int) *string {
	if r == nil || r[column] == nil {
		return nil
	}
	return new(string(r[column]))
}
