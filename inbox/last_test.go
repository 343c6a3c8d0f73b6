package inbox_test

import (
	"testing"
	"time"

	"orderbox/inbox"
	"orderbox/internal/testservers"
)

// A service asks for it every few minutes, on connections that it keeps; and the server may plan a statement that it keeps
// for all values at once from the sixth time on.
func TestTheLastMessageOfAChannelWithoutAnyIsFoundWithoutReadingTheLog(t *testing.T) {
	t.Parallel()
	db := testservers.Database(t)
	pool, admin := testservers.Open(t, db.ServiceURL, 1), testservers.Open(t, db.AdminURL, 1)
	for _, statement := range []string{
		`insert into inbox (source, channel, sequence, stamped_at, payload)
		select 'stan', 'orders', n, timestamptz '2020-01-01Z' + n * interval '1 ms', 'x'
		from generate_series(1, 20000) as n`,
		`insert into copies (position, source, channel, sequence, stamped_at, original)
		select nextval('inbox_position_seq'), 'jetstream', 'ORDERS@x', n, timestamptz '2021-01-01Z' + n * interval '1 ms', n
		from generate_series(1, 20000) as n`,
		`analyze inbox, inbox_other, copies`,
	} {
		if _, err := admin.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	const readSQL = `
		select sum(idx_tup_fetch + seq_tup_read)
		from pg_stat_user_tables
		where relname like 'inbox%' or relname = 'copies'`
	read := func() (rows int64) {
		if _, err := pool.Exec(t.Context(), `select pg_stat_force_next_flush()`); err != nil {
			t.Fatal(err)
		}
		if err := pool.QueryRow(t.Context(), readSQL).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	box := inbox.New(pool, nil)
	before := read()
	for range 10 {
		sequence, _, err := box.Last(t.Context(), inbox.SourceJetStream, "ORDERS@x")
		if sequence != 20000 || err != nil {
			t.Fatal(sequence, err)
		}
		sequence, _, err = box.Last(t.Context(), inbox.SourceSTAN, "orders")
		if sequence != 20000 || err != nil {
			t.Fatal(sequence, err)
		}
		from, to := int64(19_990), int64(20_000)
		spans, err := box.Missing(t.Context(), inbox.SourceJetStream, "ORDERS@x", from, to, time.Time{}, 9)
		if len(spans) != 0 || err != nil {
			t.Fatal(spans, err)
		}
	}
	if rows := read() - before; rows > 1000 {
		t.Errorf("%d rows were read, of 40000", rows)
	}
}
