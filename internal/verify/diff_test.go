package verify

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func (l log) mustCompare(t *testing.T, at int64, show Show) Diff {
	t.Helper()
	d, err := Compare(t.Context(), l.reader, "g1", "g2", at, show)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// rows says of each table in which anything differs how many rows are only in g1, only in g2, and different.
func (d *Diff) rows() string {
	var differ []string
	for _, t := range d.Tables {
		if t.OnlyFrom+t.OnlyTo+t.Different > 0 {
			differ = append(differ, fmt.Sprintf("%s %d/%d/%d", t.Table, t.OnlyFrom, t.OnlyTo, t.Different))
		}
	}
	return strings.Join(differ, ", ")
}

// removal takes an order out of g2.
func removal(position string) string {
	return `delete from g2.items where position = ` + position + `; delete from g2.payments where position = ` + position + `;
		delete from g2.deliveries where position = ` + position + `; delete from g2.orders where position = ` + position + `;`
}

// move has an order of g2 come from another message.
func move(from, to string) string {
	where := ` set position = ` + to + ` where position = ` + from + `;`
	return `update g2.items` + where + `update g2.payments` + where + `update g2.deliveries` + where + `update g2.orders` + where
}

func TestEqualGenerationsAreTheSame(t *testing.T) {
	t.Parallel()
	l := mustFilled(t)
	l.mustClone(t, "g2")
	d := l.mustCompare(t, 14, Show{Examples: 10})
	if !d.Same() || len(d.Tables) != tableCount || d.Orders != (OrderCounts{}) || d.DeadLetters != (DeadLetterCounts{}) ||
		d.Duplicates != 0 || d.Attempts != 0 || !reflect.DeepEqual(d.Examples, Examples{}) {
		t.Errorf("%+v", d)
	}
}

// What each change comes to: counts, rows, and an example word for word.
func TestEachChangeIsCountedAndShown(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, change string
		orders       OrderCounts
		letters      DeadLetterCounts
		duplicates   int64
		attempts     int64
		rows         string
		examples     string
	}{
		{name: "an order vanishes", change: removal("4"), orders: OrderCounts{Vanish: 1},
			rows:     "orders 1/0/0, deliveries 1/0/0, payments 1/0/0, items 3/0/0",
			examples: `{"orders":{"vanish":[{"order_uid":"uid4","before":4}]}}`},
		{name: "an order appears where a dead letter was",
			change: removal("4") + `update g2.orders set position = 6 where position = 5;
			update g2.orders set order_uid = 'new', digest = '' where position = 6;
			delete from g2.dead_letters where position = 6`,
			orders: OrderCounts{Appear: 1, Vanish: 2}, letters: DeadLetterCounts{Resolved: 1},
			rows: "orders 2/1/0, deliveries 1/0/0, payments 1/0/0, items 3/0/0, dead_letters 1/0/0",
			examples: `{"orders":{"appear":[{"order_uid":"new","after":6}],"vanish":[{"order_uid":"uid4","before":4},` +
				`{"order_uid":"uid5","before":5}]},` +
				`"dead_letters":{"resolved":[{"position":6,"before":{"kind":"order","order_uid":"uid12","reason":"invalid",` +
				`"state":"resolved","by":12},` +
				`"after":{"kind":"order","order_uid":"new"}}]}}`},
		{name: "fields change", change: `update g2.payments set amount = 7 where position = 2;
			update g2.orders set date_created_text = 'then' where position = 2;
			update g2.deliveries set zip = 'z' where position = 2;
			update g2.items set brand = 'b' where position = 2 and line = 3;
			delete from g2.items where position = 4 and line = 3`,
			orders: OrderCounts{Change: 2}, rows: "orders 0/0/1, deliveries 0/0/1, payments 0/0/1, items 1/0/1",
			examples: `{"orders":{"change":[{"order_uid":"uid2","before":2,"after":2,"fields":[{"path":"/date_created"},` +
				`{"path":"/delivery/zip"},` +
				`{"path":"/payment/amount"},{"path":"/items/2/brand"}]},` +
				`{"order_uid":"uid4","before":4,"after":4,"fields":[{"path":"/items/2/chrt_id"},` +
				`{"path":"/items/2/track_number"},{"path":"/items/2/price"},{"path":"/items/2/rid"},` +
				`{"path":"/items/2/name"},{"path":"/items/2/sale"},` +
				`{"path":"/items/2/size"},{"path":"/items/2/total_price"},{"path":"/items/2/nm_id"},` +
				`{"path":"/items/2/brand"},{"path":"/items/2/status"}]}]}}`},
		{name: "an order comes from its duplicate", change: move("1", "3") + `delete from g2.duplicates where position = 3;
			insert into g2.duplicates (position, first) values (1, 3)`,
			orders: OrderCounts{Move: 1}, duplicates: 2,
			rows: "orders 1/1/0, deliveries 1/1/0, payments 1/1/0, items 3/3/0, duplicates 1/1/0",
			examples: `{"orders":{"move":[{"order_uid":"uid1","before":1,"after":3}]},"duplicates":[` +
				`{"position":1,"before":{"kind":"order","order_uid":"uid1"},"after":{"kind":"duplicate","order_uid":"uid1"}},` +
				`{"position":3,"before":{"kind":"duplicate","order_uid":"uid1"},` +
				`"after":{"kind":"order","order_uid":"uid1"}}]}`},
		{name: "a conflict wins", change: removal("2") + move("10", "9") + `
			update g2.orders set order_uid = 'uid2', digest = '' where position = 9;
			update g2.payments set amount = 5 where position = 9;
			delete from g2.dead_letters where position = 9;
			insert into g2.dead_letters (position, reason, sentence, violations, schema_version, received_at)
			values (2, 'invalid', '', '[]', '', '2026-01-01Z')`,
			orders: OrderCounts{Vanish: 1, Change: 1}, letters: DeadLetterCounts{Resolved: 1, Arise: 1},
			rows: "orders 2/1/0, deliveries 2/1/0, payments 2/1/0, items 6/3/0, dead_letters 1/1/0",
			examples: `{"orders":{"vanish":[{"order_uid":"uid10","before":10}],` +
				`"change":[{"order_uid":"uid2","before":2,"after":9,"fields":[{"path":"/payment/amount"}]}]},` +
				`"dead_letters":{"resolved":[{"position":9,"before":{"kind":"dead_letter","reason":"conflict",` +
				`"state":"open"},"after":{"kind":"order","order_uid":"uid2"}}],` +
				`"arise":[{"position":2,"before":{"kind":"order","order_uid":"uid2"},` +
				`"after":{"kind":"dead_letter","reason":"invalid","state":"open"}}]}}`},
		{name: "a dead letter is resolved by a retry", change: `update g2.dead_letters set resolved = 13 where position = 9`,
			letters: DeadLetterCounts{Resolved: 1}, rows: "dead_letters 0/0/1",
			examples: `{"dead_letters":{"resolved":[{"position":9,"before":{"kind":"dead_letter","reason":"conflict",` +
				`"state":"open"},` +
				`"after":{"kind":"duplicate","order_uid":"uid12","reason":"conflict","state":"resolved","by":13}}]}}`},
		{name: "states change", change: `update g2.dead_letters set resolved = null where position = 6;
			update g2.dead_letters set discarded = true where position = 9`,
			letters: DeadLetterCounts{State: 2}, rows: "dead_letters 0/0/2",
			examples: `{"dead_letters":{"state":[{"position":6,"before":{"kind":"order","order_uid":"uid12",` +
				`"reason":"invalid","state":"resolved","by":12},` +
				`"after":{"kind":"dead_letter","reason":"invalid","state":"open"}},` +
				`{"position":9,"before":{"kind":"dead_letter","reason":"conflict","state":"open"},` +
				`"after":{"kind":"dead_letter","reason":"conflict","state":"discarded"}}]}}`},
		{name: "violations go and come", change: `update g2.dead_letters set reason = 'invalid',
				violations = '[{"pointer": "/zip", "keyword": "type", "message": "m"}]' where position = 14;
			update g2.dead_letter_places set place = '/zip' where position = 14`,
			letters: DeadLetterCounts{Change: 1}, rows: "dead_letters 0/0/1, dead_letter_places 1/1/0",
			examples: `{"dead_letters":{"change":[{"position":14,"before":{"kind":"dead_letter","reason":"malformed",` +
				`"state":"discarded"},` +
				`"after":{"kind":"dead_letter","reason":"invalid","state":"discarded"},` +
				`"went":[{"pointer":"/any","keyword":"","message":""}],` +
				`"came":[{"pointer":"/zip","keyword":"type","message":"m"}]}]}}`},
		{name: "an attempt is refused for something else",
			change:   `update g2.dead_letters set violations = '[]' where position = 11`,
			attempts: 1, rows: "dead_letters 0/0/1", examples: `{}`},
		{name: "only rows differ", change: `update g2.orders set digest = '' where position = 1;
			update g2.reasons set help = 'h';
			update g2.dead_letters set schema_version = 'other' where position = 9`,
			rows: "reasons 0/0/3, orders 0/0/1, dead_letters 0/0/1", examples: `{}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := mustFilled(t)
			l.mustClone(t, "g2")
			l.must(t, test.change)
			d := l.mustCompare(t, 14, Show{Examples: 10})
			if d.Orders != test.orders || d.DeadLetters != test.letters || d.Duplicates != test.duplicates || d.Attempts != test.attempts {
				t.Errorf("orders %+v, dead letters %+v, %d duplicates, %d attempts", d.Orders, d.DeadLetters, d.Duplicates, d.Attempts)
			}
			if d.rows() != test.rows || d.Same() {
				t.Errorf("rows %s, want %s", d.rows(), test.rows)
			}
			if text, err := json.Marshal(d.Examples); err != nil || string(text) != test.examples {
				t.Errorf("examples %s\nwant     %s", text, test.examples)
			}
			if few := l.mustCompare(t, 14, Show{}); !reflect.DeepEqual(few.Examples, Examples{}) || few.Orders != d.Orders {
				t.Errorf("without examples %+v", few)
			}
		})
	}
}

// Any column of any table, as the catalogue has them.
func TestAnyChangedColumnIsNotTheSame(t *testing.T) {
	t.Parallel()
	l := mustFilled(t)
	l.mustClone(t, "g2")
	for _, table := range l.tablesOf(t) {
		for _, column := range l.columnsOf(t, table) {
			if table == "checkpoint" || table == "dead_letter_counts" { // it says how far or how many, not what
				continue
			}
			l.must(t, l.changed(t, table, column))
			if d := l.mustCompare(t, 14, Show{}); d.Same() || !strings.Contains(d.rows(), table+" ") {
				t.Errorf("%s.%s is not compared", table, column)
			}
			l.must(t, unchanged(table))
		}
	}
	if d := l.mustCompare(t, 14, Show{}); !d.Same() {
		t.Errorf("%+v", d)
	}
}

// The one in service has moved on: by entries, by resolving, and by decisions that the other has not seen.
func TestWhatCameLaterCountsOnNeitherSide(t *testing.T) {
	t.Parallel()
	l := mustFilled(t)
	l.mustClone(t, "g2")
	l.must(t, `
		update g2.checkpoint set position = 10, orders = 6, duplicates = 2, dead_letters = 2, decision = 0;
		update g2.dead_letters set resolved = null where position = 6;
		delete from g2.duplicates where position > 10; delete from g2.dead_letter_places where position > 10;
		delete from g2.dead_letters where position > 10;`+removal("12")+`
		update g1.dead_letters set discarded = true where position = 9; update g1.checkpoint set decision = 7`)
	if d := l.mustCompare(t, 10, Show{Examples: 10}); !d.Same() {
		t.Errorf("%+v", d)
	}
	// What the decision that both know says is still compared.
	l.must(t, `update g2.checkpoint set decision = 7`)
	if d := l.mustCompare(t, 10, Show{}); d.DeadLetters != (DeadLetterCounts{State: 1}) {
		t.Errorf("%+v", d)
	}
	// And an order whose message came later is none yet.
	l.must(t, removal("4")+`update g1.orders set order_uid = 'other' where position = 4;
		update g1.orders set order_uid = 'uid4' where position = 12`)
	if d := l.mustCompare(t, 10, Show{}); d.Orders != (OrderCounts{Vanish: 1}) {
		t.Errorf("%+v", d)
	}
}

func TestValuesAreShownOnlyWhereAskedFor(t *testing.T) {
	t.Parallel()
	l := mustFilled(t)
	l.mustClone(t, "g2")
	l.must(t, `update g1.deliveries set email = 'before@example.com'; update g2.deliveries set email = 'after@example.com'`)
	for _, values := range []bool{false, true} {
		d := l.mustCompare(t, 14, Show{Examples: 2, Values: values})
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{"before@example.com", "after@example.com"} {
			if shown := strings.Contains(string(text), address); shown != values {
				t.Errorf("%s is shown: %t, want %t", address, shown, values)
			}
		}
		if d.Orders.Change != 7 || len(d.Examples.Orders.Change) != 2 {
			t.Errorf("%d changes, %d examples", d.Orders.Change, len(d.Examples.Orders.Change))
		}
	}
}

// More orders than wait for the other side's word at a time.
func TestEveryOrderMayMove(t *testing.T) {
	t.Parallel()
	l := mustProjected(t)
	l.must(t, `set search_path = g1, public; insert into orders (position, order_uid, digest, track_number, entry, locale,
		internal_signature, customer_id, delivery_service, shardkey, sm_id, date_created, date_created_text, oof_shard)
		select 2 * p, 'uid' || p, sha256(p::text::bytea), '', '', '', '', '', '', '', 0, '2026-01-01Z', '', ''
		from generate_series(1001, 4500) as p;
		update checkpoint set position = 10000; reset search_path`)
	l.mustClone(t, "g2")
	l.must(t, `update g2.orders set position = position + 1 where position > 2000 and position <= 8000;
		delete from g2.orders where position > 8900`)
	d := l.mustCompare(t, 10000, Show{Examples: 3})
	if d.Orders != (OrderCounts{Move: 3000, Vanish: 50}) || len(d.Examples.Orders.Move) != 3 {
		t.Errorf("%+v", d)
	}
}

func TestWhatCannotBeComparedIsAnError(t *testing.T) {
	t.Parallel()
	l := mustFilled(t)
	l.mustClone(t, "g2")
	l.must(t, `create schema unlisted; grant usage on schema unlisted to orderbox_reader`)
	fails := func(to, want string) {
		t.Helper()
		_, err := Compare(t.Context(), l.reader, "g1", to, 14, Show{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	fails("nowhere", `there is no generation "nowhere"`)
	fails("unlisted", `there is no generation "unlisted"`)
	fails(`g1"; drop`, `there is no generation "g1\"; drop"`)
	l.must(t, `update g2.checkpoint set position = 10`)
	fails("g2", "g2 has come to position 10 only, not to 14")
	l.must(t, `delete from g2.checkpoint`)
	fails("g2", "g2 has no checkpoint")
	l.must(t, `insert into g2.checkpoint (position, orders, duplicates, dead_letters, decision) values (14, 0, 0, 0, 0);
		alter table g2.items drop column brand`)
	fails("g2", "read items of g2")
}
