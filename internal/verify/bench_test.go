package verify

import (
	"fmt"
	"testing"

	"orderbox/internal/testservers"
	"orderbox/sql"
)

// mustMany fills a generation with n orders of two items, and a tenth as many dead letters, all with
// contents of the usual length. Their log is missing, for neither benchmark reads it.
func mustMany(b *testing.B, db testservers.DB, name, state string, n int) {
	b.Helper()
	pool := testservers.Open(b, db.ServiceURL, 1)
	conn, err := pool.Acquire(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Release()
	_, err = conn.Conn().PgConn().Exec(b.Context(), fmt.Sprintf(`create schema %[1]s; set search_path = %[1]s, public; %[3]s;
		insert into generations (name, fingerprint, state) values ('%[1]s', '', '%[2]s');
		insert into reasons (code, sentence, help) values ('invalid', '', '');
		insert into orders (position, order_uid, digest, track_number, entry, locale, internal_signature, customer_id,
			delivery_service, shardkey, sm_id, date_created, date_created_text, oof_shard)
		select p, md5(p::text), sha256(p::text::bytea), 'WBILMTESTTRACK', 'WBIL', 'en', '', 'test', 'meest', '9', 99,
			'2021-11-26T06:22:19Z', '2021-11-26T06:22:19Z', '1' from generate_series(1, %[4]d) as p;
		insert into deliveries (position, name, phone, zip, city, address, region, email)
		select position, 'Test Testov', '+9720000000', '2639809', 'Kiryat Mozkin', 'Ploshad Mira 15', 'Kraiot',
			'test@gmail.com' from orders;
		insert into payments (position, transaction, request_id, currency, provider, amount, payment_dt, bank, delivery_cost,
			goods_total, custom_fee)
		select position, order_uid, '', 'USD', 'wbpay', 1817, 1637907727, 'alpha', 1500, 317, 0 from orders;
		insert into items (position, line, chrt_id, track_number, price, rid, name, sale, size, total_price, nm_id, brand,
			status)
		select position, line, 9934930, track_number, 453, order_uid, 'Mascaras', 30, '0', 317, 2389212, 'Vivienne Sabo', 202
		from orders, generate_series(1, 2) as line;
		insert into dead_letters (position, reason, sentence, violations, schema_version, received_at)
		select p, 'invalid', 'The order breaks the schema: /delivery/phone does not match.',
			'[{"pointer": "/delivery/phone", "keyword": "pattern", "message": "does not match"}]', 'abc', '2026-01-01Z'
		from generate_series(%[4]d + 1, %[4]d + %[4]d / 10) as p;
		insert into dead_letter_places (place, position) select '/delivery/phone', position from dead_letters;
		update checkpoint set position = %[4]d + %[4]d / 10, orders = %[4]d, dead_letters = %[4]d / 10;
		reset search_path`, name, state, sql.Generation, n)).ReadAll()
	if err != nil {
		b.Fatal(err)
	}
	admin := testservers.Open(b, db.AdminURL, 1)
	if _, err := admin.Exec(b.Context(), `vacuum analyze`); err != nil {
		b.Fatal(err)
	}
}

// manyOrders is how many there are: with -short only so many as show that the benchmarks work.
func manyOrders() int {
	if testing.Short() {
		return 10_000
	}
	return 200_000
}

// The limit is PostgreSQL making text of a million rows and sending it. Hashing every row there and adding the hashes
// up took no less (2.7 s against 2.5 s), for it makes text of them as well.
func BenchmarkFingerprint(b *testing.B) {
	db, many := testservers.Database(b), manyOrders()
	mustMany(b, db, "g1", "current", many)
	reader := testservers.Open(b, db.ReaderURL, 1)
	for b.Loop() {
		p, err := Fingerprint(b.Context(), reader)
		if err != nil || p.Entries != int64(many)*11/10 {
			b.Fatal(p, err)
		}
	}
	b.ReportMetric(float64(b.N*many)/b.Elapsed().Seconds(), "orders/s")
}

// Twice the rows of the other benchmark, and the same limit.
func BenchmarkCompare(b *testing.B) {
	db, many := testservers.Database(b), manyOrders()
	mustMany(b, db, "g1", "current", many)
	mustMany(b, db, "g2", "trial", many)
	reader := testservers.Open(b, db.ReaderURL, 1)
	for b.Loop() {
		d, err := Compare(b.Context(), reader, "g1", "g2", int64(many)*11/10, Show{Examples: 10})
		if err != nil || !d.Same() {
			b.Fatal(d, err)
		}
	}
	b.ReportMetric(float64(b.N*many)/b.Elapsed().Seconds(), "orders/s")
}
