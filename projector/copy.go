package projector

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// The columns that are copied, in the order in which the rows below list them.
var (
	orderColumns = []string{"position", "order_uid", "digest", "track_number", "entry", "locale", "internal_signature",
		"customer_id", "delivery_service", "shardkey", "sm_id", "date_created", "date_created_text", "oof_shard"}
	deliveryColumns = []string{"position", "name", "phone", "zip", "city", "address", "region", "email"}
	paymentColumns  = []string{"position", "transaction", "request_id", "currency", "provider", "amount", "payment_dt",
		"bank", "delivery_cost", "goods_total", "custom_fee"}
	itemColumns = []string{"position", "line", "chrt_id", "track_number", "price", "rid", "name", "sale", "size",
		"total_price", "nm_id", "brand", "status"}
	duplicateColumns  = []string{"position", "first"}
	deadLetterColumns = []string{"position", "reason", "sentence", "violations", "schema_version", "first", "original",
		"received_at"}
	placeColumns = []string{"place", "position"}
)

// fewRows is how many rows are inserted one by one rather than copied: some forty orders with their items. Of more a
// COPY is faster (BenchmarkProject).
const fewRows = 200

// table is the rows of a batch for one table.
type table struct {
	name    string
	columns []string
	n       int
	row     func(i int) []any
}

func rowsOf(tables []table) (n int) {
	for _, t := range tables {
		n += t.n
	}
	return n
}

// copy writes the rows by COPY.
func (t table) copy(ctx context.Context, conn *pgx.Conn) error {
	if t.n == 0 {
		return nil
	}
	rows := pgx.CopyFromSlice(t.n, func(i int) ([]any, error) { return t.row(i), nil })
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, rows); err != nil {
		return fmt.Errorf("copy %d rows into %s: %w", t.n, t.name, err)
	}
	return nil
}

// insert queues a statement for each row.
func (t table) insert(statements *pgx.Batch) {
	if t.n == 0 {
		return
	}
	places := make([]string, len(t.columns))
	for i := range places {
		places[i] = fmt.Sprint("$", i+1)
	}
	statement := fmt.Sprintf("insert into %s (%s) values (%s)", t.name, strings.Join(t.columns, ", "), strings.Join(places, ", "))
	for i := range t.n {
		statements.Queue(statement, t.row(i)...)
	}
}

// tables are the batch's rows, parents before children.
func (f *fates) tables() []table {
	items := make([][]any, 0, 2*len(f.orders))
	for _, j := range f.orders {
		for i, it := range j.order.Items {
			items = append(items, []any{j.position, i + 1, it.ChrtID, it.TrackNumber, it.Price, it.RID, it.Name, it.Sale,
				it.Size, it.TotalPrice, it.NmID, it.Brand, it.Status})
		}
	}
	var places [][]any
	for _, j := range f.dead {
		for _, place := range j.dead.places() {
			places = append(places, []any{place, j.position})
		}
	}
	return []table{
		{"orders", orderColumns, len(f.orders), func(i int) []any {
			j, o := f.orders[i], f.orders[i].order
			return []any{j.position, o.OrderUID, j.digest[:], o.TrackNumber, o.Entry, o.Locale, o.InternalSignature,
				o.CustomerID, o.DeliveryService, o.ShardKey, o.SmID, j.created, o.DateCreated, o.OofShard}
		}},
		{"deliveries", deliveryColumns, len(f.orders), func(i int) []any {
			d := f.orders[i].order.Delivery
			return []any{f.orders[i].position, d.Name, d.Phone, d.Zip, d.City, d.Address, d.Region, d.Email}
		}},
		{"payments", paymentColumns, len(f.orders), func(i int) []any {
			p := f.orders[i].order.Payment
			return []any{f.orders[i].position, p.Transaction, p.RequestID, p.Currency, p.Provider, p.Amount, p.PaymentDT,
				p.Bank, p.DeliveryCost, p.GoodsTotal, p.CustomFee}
		}},
		{"items", itemColumns, len(items), func(i int) []any { return items[i] }},
		{"duplicates", duplicateColumns, len(f.duplicates), func(i int) []any {
			return []any{f.duplicates[i].position, f.duplicates[i].first}
		}},
		{"dead_letters", deadLetterColumns, len(f.dead), func(i int) []any {
			j, d := f.dead[i], f.dead[i].dead
			return []any{j.position, string(d.reason), d.sentence, d.violations, j.schema, orNull(d.first), orNull(j.original),
				j.receivedAt}
		}},
		{"dead_letter_places", placeColumns, len(places), func(i int) []any { return places[i] }},
	}
}

func orNull(position int64) *int64 {
	if position == 0 {
		return nil
	}
	return &position
}
