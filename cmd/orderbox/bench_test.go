package main

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox"
	"orderbox/internal/testservers"
	"orderbox/internal/verify"
	"orderbox/publisher"
	"orderbox/sql"
)

// From the first publish until the last order is visible over HTTP: 10,000 messages at full speed with a
// tenth of rubbish, through the durable broker and database that `up` runs on this machine. The limit is
// COPY of the same orders into the same four tables of the same database; both are reported.
func BenchmarkPublishedToVisible(b *testing.B) {
	const messages = 10_000
	dir := testservers.Dir(b)
	mustProgram(b, nil, "up", "--data", dir, "--listen", "127.0.0.1:0", "--empty", "--log-level", "warn")
	env := mustEnv(b, dir)
	pool, err := sql.Open(b.Context(), env["ORDERBOX_DATABASE_URL"], "bench", 1)
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()

	orders, copied := 0, 0
	var copying time.Duration
	for seed := uint64(1); b.Loop(); seed++ {
		b.StopTimer()
		var payloads [][]byte
		last := ""
		for m := range publisher.Messages(seed, messages, 0.1) {
			payloads = append(payloads, m.Payload)
			if m.Verdict == publisher.VerdictOrder {
				orders, last = orders+1, m.OrderUID
			}
		}
		b.StartTimer()
		mustPublish(b, env["ORDERBOX_NATS_URL"], env["ORDERBOX_STAN_CLUSTER"], env["ORDERBOX_CHANNEL"], 0, payloads...)
		testservers.Eventually(b, "the last order is visible", func() bool {
			code, _ := get(b, env["ORDERBOX_URL"]+"/api/v1/orders/"+last, "")
			return code == http.StatusOK
		})
		b.StopTimer()
		testservers.Eventually(b, "everything is projected", func() bool {
			balance, err := verify.Stats(b.Context(), pool)
			return err == nil && balance.Received == int64(seed*messages) && balance.Pending == 0
		})
		n, took := mustCopy(b, env["ORDERBOX_DATABASE_URL"], seed, messages)
		copied, copying = copied+n, copying+took
		b.StartTimer()
	}
	b.StopTimer()
	if code, out, errs := runOrderbox(b.Context(), "verify", "--data", dir); code != 0 {
		b.Errorf("verify: %s%s", out, errs)
	}
	b.ReportMetric(float64(orders)/b.Elapsed().Seconds(), "orders/s")
	b.ReportMetric(float64(copied)/copying.Seconds(), "COPY-orders/s")
}

// mustCopy copies n orders into fresh tables of the same shape, in one transaction, and says how long the
// COPYs and the commit took.
func mustCopy(b *testing.B, databaseURL string, seed uint64, n int) (int, time.Duration) {
	b.Helper()
	ctx := b.Context()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, statement := range []string{"create schema raw_copy", "set search_path = raw_copy", sql.Generation} {
		if _, err := conn.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			b.Fatal(err)
		}
	}
	defer conn.Exec(context.WithoutCancel(ctx), "drop schema raw_copy cascade")

	var orders, deliveries, payments, items [][]any
	for o := range publisher.Orders(seed) {
		if len(orders) == n {
			break
		}
		p := int64(len(orders) + 1)
		orders = append(orders, []any{p, o.OrderUID, make([]byte, 32), o.TrackNumber, o.Entry, o.Locale, o.InternalSignature,
			o.CustomerID, o.DeliveryService, o.ShardKey, o.SmID, time.Now(), o.DateCreated, o.OofShard})
		d := o.Delivery
		deliveries = append(deliveries, []any{p, d.Name, d.Phone, d.Zip, d.City, d.Address, d.Region, d.Email})
		y := o.Payment
		payments = append(payments, []any{p, y.Transaction, y.RequestID, y.Currency, y.Provider, y.Amount, y.PaymentDT,
			y.Bank, y.DeliveryCost, y.GoodsTotal, y.CustomFee})
		items = append(items, itemRows(p, o.Items)...)
	}
	started := time.Now()
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, t := range []struct {
			name string
			rows [][]any
		}{{"orders", orders}, {"deliveries", deliveries}, {"payments", payments}, {"items", items}} {
			if _, err := tx.CopyFrom(ctx, pgx.Identifier{t.name}, columns(b, tx, t.name), pgx.CopyFromRows(t.rows)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return n, time.Since(started)
}

func itemRows(position int64, items []orderbox.Item) (rows [][]any) {
	for i, it := range items {
		rows = append(rows, []any{position, i + 1, it.ChrtID, it.TrackNumber, it.Price, it.RID, it.Name, it.Sale, it.Size,
			it.TotalPrice, it.NmID, it.Brand, it.Status})
	}
	return rows
}

// columns are a table's, in the order in which generation.sql declares them.
func columns(b *testing.B, tx pgx.Tx, table string) []string {
	b.Helper()
	rows, err := tx.Query(b.Context(), `select attname from pg_attribute where attrelid = $1::regclass and attnum > 0 order by attnum`, table)
	if err != nil {
		b.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		b.Fatal(err)
	}
	return names
}
