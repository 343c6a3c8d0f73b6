package verify

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/testservers"
	"orderbox/sql"
)

func TestMain(m *testing.M) {
	testservers.Main(m)
}

// log is a database with a log and, after project, a generation that fits it.
type log struct {
	admin, reader *pgxpool.Pool
}

// A log of ten messages: positions 1, 2, 4, 5, 7 and 10 are orders, 3 and 8 duplicates, 6 is invalid and 9 a conflict.
func mustLog(t *testing.T) log {
	t.Helper()
	db := testservers.Database(t)
	l := log{admin: testservers.Open(t, db.AdminURL, 4), reader: testservers.Open(t, db.ReaderURL, 4)}
	l.must(t, `
		insert into inbox (source, channel, sequence, stamped_at, payload)
		select 'stan', 'orders', n, timestamptz '2026-01-01 00:00:00Z' + n * interval '1 s', ''
		from generate_series(1, 10) as n`)
	return l
}

func mustProjected(t *testing.T) log {
	t.Helper()
	l := mustLog(t)
	l.must(t, `create schema g1; grant usage on schema g1 to orderbox, orderbox_reader; set search_path = g1, public;`+
		sql.Generation+`;
		insert into generations (name, fingerprint, state) values ('g1', 'abc', 'current');
		insert into reasons (code, sentence, help) values ('malformed', '', ''), ('invalid', '', ''), ('conflict', '', '');
		insert into orders (position, order_uid, digest, track_number, entry, locale, internal_signature, customer_id,
			delivery_service, shardkey, sm_id, date_created, date_created_text, oof_shard)
		select p, 'uid' || p, '', '', '', '', '', '', '', '', 0, now(), '', '' from unnest(array[1, 2, 4, 5, 7, 10]) as p;
		insert into deliveries (position, name, phone, zip, city, address, region, email)
		select position, '', '', '', '', '', '', '' from orders;
		insert into payments (position, transaction, request_id, currency, provider, amount, payment_dt, bank, delivery_cost,
			goods_total, custom_fee)
		select position, '', '', '', '', 0, 0, '', 0, 0, 0 from orders;
		insert into items (position, line, chrt_id, track_number, price, rid, name, sale, size, total_price, nm_id, brand, status)
		select position, line, 0, '', 0, '', '', 0, '', 0, 0, '', 0 from orders, generate_series(1, 3) as line;
		insert into duplicates (position, first) values (3, 1), (8, 7);
		insert into dead_letters (position, reason, sentence, violations, schema_version, first, received_at)
		values (6, 'invalid', '', '[]', '', null, now()), (9, 'conflict', '', '[]', '', 2, now());
		insert into dead_letter_counts (reason, place, state, letters) values ('invalid', '*', 'open', 1), ('conflict', '*', 'open', 1);
		update checkpoint set position = 10, orders = 6, duplicates = 2, dead_letters = 2;
		grant select on all tables in schema g1 to orderbox_reader;
		reset search_path`)
	return l
}

// must runs statements as the administrator, whom nothing forbids to break a law.
func (l log) must(t *testing.T, statements string) {
	t.Helper()
	err := l.admin.AcquireFunc(t.Context(), func(conn *pgxpool.Conn) error {
		_, err := conn.Conn().PgConn().Exec(t.Context(), statements).ReadAll()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (l log) mustCheck(t *testing.T) Report {
	t.Helper()
	r, err := Check(t.Context(), l.reader)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSoundLogBreaksNoLaw(t *testing.T) {
	t.Parallel()
	l := mustProjected(t)
	l.must(t, `insert into inbox (source, channel, sequence, stamped_at, payload, original)
		values ('stan', 'orders', 11, '2026-01-02Z', '', null), ('operator', 'orders', 700, '2026-01-03Z', '', 6);
		insert into decisions (position, kind, entry, decided_by, note) values (6, 'retry', 12, '', ''), (9, 'discard', null, '', '')`)
	want := Balance{Received: 12, Orders: 6, Duplicates: 2, DeadLetters: 2, Pending: 2, Checkpoint: 10, Head: 12}
	r := l.mustCheck(t)
	if r.Balance != want || r.Generation != "g1" || r.BuiltWith != "abc" || r.Gaps != 0 || len(r.Broken) != 0 {
		t.Errorf("report %+v, want %+v and nothing broken", r, want)
	}
	stats, err := Stats(t.Context(), l.reader)
	if err != nil || stats != want {
		t.Errorf("stats %+v, %v, want %+v", stats, err, want)
	}
	text, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(text), `"broken":[]`) || !strings.Contains(string(text), `"received":12`) {
		t.Errorf("as JSON %s, %v", text, err)
	}
}

func TestWithoutGenerationEverythingIsPending(t *testing.T) {
	t.Parallel()
	l := mustLog(t)
	want := Balance{Received: 10, Pending: 10, Head: 10}
	r := l.mustCheck(t)
	if r.Balance != want || r.Generation != "" || len(r.Broken) != 0 {
		t.Errorf("report %+v, want %+v", r, want)
	}
	stats, err := Stats(t.Context(), l.reader)
	if err != nil || stats != want {
		t.Errorf("stats %+v, %v, want %+v", stats, err, want)
	}
}

// Each breach is made by hand, and is named; what it brings with it is named as well.
func TestBrokenLawIsNamed(t *testing.T) {
	t.Parallel()
	const noKeys = `alter table g1.items drop constraint items_position_fkey;
		alter table g1.deliveries drop constraint deliveries_position_fkey;
		alter table g1.payments drop constraint payments_position_fkey;
		alter table g1.duplicates drop constraint duplicates_first_fkey;
		alter table g1.dead_letters drop constraint dead_letters_first_fkey;`
	tests := []struct {
		name, breach string
		law          int
		what         string
		examples     []int64
	}{
		{"a fate is lost", `delete from g1.dead_letters where position = 6`,
			3, "messages up to the checkpoint without a fate", []int64{6}},
		{"two fates", `insert into g1.duplicates (position, first) values (6, 1)`,
			3, "messages with more than one fate", []int64{6}},
		{"a message is lost", `delete from inbox where position in (2, 3)`,
			3, "fates of messages that are not in the inbox", []int64{2, 3}},
		{"the checkpoint is behind", `update g1.checkpoint set position = 7`,
			3, "fates of messages beyond the checkpoint", []int64{8, 9, 10}},
		{"the checkpoint is gone", `delete from g1.checkpoint`,
			3, "fates of messages beyond the checkpoint", []int64{1, 2, 3, 4, 5}},
		{"orders are miscounted", `update g1.checkpoint set orders = 7`,
			3, "the checkpoint's total of orders is not their count", []int64{10}},
		{"duplicates are miscounted", `update g1.checkpoint set duplicates = 1`,
			3, "the checkpoint's total of duplicates is not their count", []int64{10}},
		{"dead letters are miscounted", `update g1.checkpoint set dead_letters = 0`,
			3, "the checkpoint's total of dead letters is not their count", []int64{10}},
		{"a count is too high", `update g1.dead_letter_counts set letters = 2 where reason = 'invalid'`,
			4, "the counts of invalid dead letters that are open are not those of the rows", nil},
		{"a count is missing", `delete from g1.dead_letter_counts where reason = 'conflict'`,
			4, "the counts of conflict dead letters that are open are not those of the rows", nil},
		{"a count of nothing", `insert into g1.dead_letter_counts (reason, place, state, letters) values ('invalid', '/zip', 'resolved', 1)`,
			4, "the counts of invalid dead letters that are resolved are not those of the rows", nil},
		{"a duplicate of a later order", `update g1.duplicates set first = 10 where position = 8`,
			3, "duplicates that are not of an earlier order", []int64{8}},
		{"a duplicate of nothing", noKeys + `update g1.duplicates set first = 6 where position = 8`,
			3, "duplicates that are not of an earlier order", []int64{8}},
		{"a conflict with a later order", `update g1.dead_letters set first = 10 where position = 9`,
			3, "conflicts that are not with an earlier order", []int64{9}},
		{"a conflict with nothing", `update g1.dead_letters set first = null where position = 9`,
			3, "conflicts that are not with an earlier order", []int64{9}},
		{"no delivery", `delete from g1.deliveries where position = 4`,
			4, "orders without a delivery, or deliveries without an order", []int64{4}},
		{"no payment", `delete from g1.payments where position = 4`,
			4, "orders without a payment, or payments without an order", []int64{4}},
		{"no order", noKeys + `delete from g1.orders where position = 5`,
			4, "orders without a delivery, or deliveries without an order", []int64{5}},
		{"no items", `delete from g1.items where position = 4`,
			4, "orders whose items are not lines 1 to n", []int64{4}},
		{"items begin with the second", `delete from g1.items where position = 4 and line = 1`,
			4, "orders whose items are not lines 1 to n", []int64{4}},
		{"an item is missing between", `delete from g1.items where line = 2`,
			4, "orders whose items are not lines 1 to n", []int64{1, 2, 4, 5, 7}},
		{"a position comes twice", `insert into inbox (position, source, channel, sequence, stamped_at, payload)
			overriding system value values (7, 'stan', 'orders', 11, '2026-01-02Z', '')`,
			3, "positions given to several messages", []int64{7}},
		{"a message comes twice", `alter table inbox drop constraint inbox_source_channel_sequence_stamped_at_key;
			insert into inbox (source, channel, sequence, stamped_at, payload)
			select source, channel, sequence, stamped_at, payload from inbox where position = 4`,
			3, "messages that are in the inbox twice", []int64{11}},
		{"the service may update", `grant update (payload) on inbox to orderbox`,
			2, "the service's role orderbox may UPDATE inbox", nil},
		{"the service may delete from a partition", `grant delete on inbox_other to orderbox`,
			2, "the service's role orderbox may DELETE inbox_other", nil},
		{"everybody may truncate", `grant truncate on inbox to public`,
			2, "the service's role orderbox may TRUNCATE inbox", nil},
		{"the service owns a partition", `alter table inbox_other owner to orderbox`,
			2, "the service's role orderbox may OWN inbox_other", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := mustProjected(t)
			l.must(t, test.breach)
			r := l.mustCheck(t)
			found := slices.ContainsFunc(r.Broken, func(f Finding) bool {
				return f.Law == test.law && f.What == test.what && f.Count > 0 && slices.Equal(f.Examples, test.examples)
			})
			if !found {
				t.Errorf("want law %d, %q with %v; found %+v", test.law, test.what, test.examples, r.Broken)
			}
		})
	}
}

// A service that is started on one goes on with it until the next one is built.
func TestAGenerationOfAnEarlierVersionHasNoCounts(t *testing.T) {
	t.Parallel()
	l := mustProjected(t)
	l.must(t, `drop table g1.dead_letter_counts`)
	if r := l.mustCheck(t); len(r.Broken) != 0 {
		t.Errorf("broken %+v", r.Broken)
	}
}

// A check that is under way when the generation is switched sees the old one throughout.
func TestCheckIsOneSnapshot(t *testing.T) {
	t.Parallel()
	l := mustProjected(t)
	err := snapshot(t.Context(), l.reader, func(tx pgx.Tx, g generation) error {
		l.must(t, `update generations set state = 'trial';
			insert into inbox (source, channel, sequence, stamped_at, payload) values ('stan', 'orders', 11, now(), '')`)
		b, err := kept(t.Context(), tx, g)
		if err != nil {
			return err
		}
		if b.Received != 10 {
			t.Errorf("received %d, want the 10 of the snapshot", b.Received)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnreachableDatabaseIsAnError(t *testing.T) {
	t.Parallel()
	pool := testservers.Open(t, "postgres://orderbox@127.0.0.1:1/orderbox", 4)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := Check(ctx, pool); err == nil {
		t.Error("no error")
	}
	if _, err := Stats(ctx, pool); err == nil {
		t.Error("no error")
	}
}

func TestTheBacklogIsWhatHasNoVerdict(t *testing.T) {
	t.Parallel()
	whole, none := mustLog(t), mustProjected(t)
	some := mustProjected(t)
	whole.must(t, `update inbox set received_at = received_at - interval '1 day' where position = 1`)
	some.must(t, `update g1.checkpoint set position = 7; update inbox set received_at = received_at - position * interval '1 hour'`)
	for i, c := range []struct {
		log       log
		positions int64
		age       time.Duration // at least, and less than an hour more
	}{{whole, 10, 24 * time.Hour}, {some, 3, 8 * time.Hour}} {
		b, err := Pending(t.Context(), c.log.reader)
		if err != nil || b.Positions != c.positions || b.Age < c.age || b.Age > c.age+time.Hour {
			t.Errorf("%d: %+v, %v", i, b, err)
		}
	}
	if b, err := Pending(t.Context(), none.reader); err != nil || b != (Backlog{}) {
		t.Errorf("%+v, %v", b, err)
	}
}
