package verify

import (
	"slices"
	"testing"
)

// decided adds to the log: 11 a retry of 6 that is refused again, 12 an amendment of it that makes an order,
// 13 one that repeats it; and 14, invalid too, which is discarded, reopened, and discarded again.
const decided = `
	insert into inbox (source, channel, sequence, stamped_at, payload, original)
	values ('operator', '', 1, '2026-02-01Z', '', 6), ('operator', '', 2, '2026-02-02Z', '', 6),
		('operator', '', 3, '2026-02-03Z', '', 6), ('stan', 'orders', 11, '2026-02-04Z', '', null);
	insert into decisions (position, kind, entry, decided_by, note) values (6, 'retry', 11, '', ''), (6, 'amend', 12, '', ''),
		(6, 'amend', 13, '', ''), (14, 'discard', null, '', ''), (14, 'reopen', null, '', ''), (14, 'discard', null, '', ''),
		(9, 'discard', null, '', '');
	set search_path = g1, public;
	insert into dead_letters (position, reason, sentence, violations, schema_version, original, received_at, discarded)
	values (11, 'invalid', '', '[{"pointer": "/items/10/2/a1/3"}, {"pointer": "/items/0/7/a1/4"}, {"pointer": ""}]', '',
			6, now(), false),
		(14, 'malformed', '', '[{"pointer": "/any"}]', '', null, now(), true);
	insert into dead_letter_places (place, position) values ('/items/*/*/a1/*', 11), ('', 11), ('', 14);
	insert into orders (position, order_uid, digest, track_number, entry, locale, internal_signature, customer_id,
		delivery_service, shardkey, sm_id, date_created, date_created_text, oof_shard)
	values (12, 'uid12', '', '', '', '', '', '', '', '', 0, now(), '', '');
	insert into deliveries (position, name, phone, zip, city, address, region, email) values (12, '', '', '', '', '', '', '');
	insert into payments (position, transaction, request_id, currency, provider, amount, payment_dt, bank, delivery_cost,
		goods_total, custom_fee)
	values (12, '', '', '', '', 0, 0, '', 0, 0, 0);
	insert into items (position, line, chrt_id, track_number, price, rid, name, sale, size, total_price, nm_id, brand, status)
	values (12, 1, 0, '', 0, '', '', 0, '', 0, 0, '', 0);
	insert into duplicates (position, first) values (13, 12);
	update dead_letters set resolved = 12 where position = 6;
	update dead_letter_counts set letters = 0 where reason = 'invalid';
	insert into dead_letter_counts (reason, place, state, letters)
	values ('invalid', '*', 'resolved', 1), ('malformed', '*', 'discarded', 1), ('malformed', '', 'discarded', 1);
	update checkpoint set position = 14, orders = 7, duplicates = 3, dead_letters = 4, decision = 6;
	reset search_path;`

// One decision is not applied yet: of that the laws say nothing.
func TestWhatOperatorsDecidedBreaksNoLaw(t *testing.T) {
	t.Parallel()
	l := mustProjected(t)
	l.must(t, decided)
	want := Balance{Received: 14, Orders: 7, Duplicates: 3, DeadLetters: 4, Checkpoint: 14, Head: 14}
	if r := l.mustCheck(t); r.Balance != want || r.Gaps != 0 || len(r.Broken) != 0 {
		t.Errorf("report %+v, want %+v, no gaps and nothing broken", r, want)
	}
}

// recount makes the counts those of the dead letters.
const recount = `;
	delete from g1.dead_letter_counts;
	insert into g1.dead_letter_counts (reason, place, state, letters)
	select reason, place, state, count(*)
	from g1.dead_letters
	join (select position, '*' as place from g1.dead_letters union all select position, place from g1.dead_letter_places) as p using (position)
	where original is null
	group by reason, place, state`

// Each breach of what operators decided is found, and nothing else with it.
func TestBrokenDecisionIsNamedAlone(t *testing.T) {
	t.Parallel()
	const (
		originals = "retries and amendments that are not of an earlier message"
		operators = "operators' entries without an original, or originals in others'"
		undecided = "operators' entries that not exactly one decision made"
		entries   = "messages with a decision whose retry or amendment is not in the inbox"
		attempts  = "dead letters with another original than their message"
		resolved  = "dead letters not resolved by their first retry or amendment that was not refused"
		discarded = "dead letters not discarded as the last decision says"
		places    = "dead letters whose places are not those of their violations"
		oneOfEach = `drop index generations_one_of_each;`
	)
	tests := []struct {
		name, breach, what string
		examples           []int64
	}{
		{"resolved by nothing", `update g1.dead_letters set resolved = null where position = 6`, resolved, []int64{6}},
		{"resolved by one that was refused", `update g1.dead_letters set resolved = 11 where position = 6`, resolved, []int64{6}},
		{"resolved by the second", `update g1.dead_letters set resolved = 13 where position = 6`, resolved, []int64{6}},
		{"resolved by one about another", `update g1.dead_letters set resolved = 12 where position = 9`, resolved, []int64{9}},
		{"resolved by an earlier one", `update g1.dead_letters set resolved = 2 where position = 9`, resolved, []int64{9}},
		{"discarded no more", `update g1.dead_letters set discarded = false where position = 14`, discarded, []int64{14}},
		{"discarded by nobody", `update g1.dead_letters set discarded = true where position = 6`, discarded, []int64{6}},
		{"discarded too early", `update g1.dead_letters set discarded = true where position = 9`, discarded, []int64{9}},
		{"an older decision applied", `update g1.checkpoint set decision = 5`, discarded, []int64{14}},
		{"a place too many", `insert into g1.dead_letter_places (place, position) values ('/zip', 9)`, places, []int64{9}},
		{"a place too few", `delete from g1.dead_letter_places where position = 14`, places, []int64{14}},
		{"a place with its number", `update g1.dead_letter_places set place = '/items/10/*/a1/*' where place like '/items%'`,
			places, []int64{11}},
		{"violations that are none", `update g1.dead_letters set violations = '{"pointer": 7}' where position = 6`, places, []int64{6}},
		{"an attempt of another", `update g1.dead_letters set original = 9 where position = 11`, attempts, []int64{11}},
		{"an attempt of nothing", `update g1.dead_letters set original = null where position = 11`, attempts, []int64{11}},
		{"an original that is later", `update inbox set original = 14 where position = 11; update decisions set position = 14 where entry = 11;
			update g1.dead_letters set original = 14 where position = 11`, originals, []int64{11}},
		{"an original that is nowhere", `update inbox set original = 99 where position = 13;
			update decisions set position = 99 where entry = 13`, originals, []int64{13}},
		{"a broker's message with an original", `update inbox set original = 9 where position = 14;
			update g1.dead_letters set original = 9 where position = 14`, operators, []int64{14}},
		{"an entry that nobody decided", `delete from decisions where entry = 13`, undecided, []int64{13}},
		{"an entry decided twice", `insert into decisions (position, kind, entry, decided_by, note) values (6, 'retry', 11, '', '')`,
			undecided, []int64{11}},
		{"a decision without its entry", `insert into decisions (position, kind, entry, decided_by, note) values (9, 'retry', 99, '', '')`,
			entries, []int64{9}},
		{"a decision about another", `update decisions set position = 9 where entry = 13`, entries, []int64{9}},
		{"a broker's message as an entry", `insert into decisions (position, kind, entry, decided_by, note) values (9, 'retry', 14, '', '')`,
			entries, []int64{9}},
		{"two in service", oneOfEach + `insert into generations (name, fingerprint, state) values ('g1b', '', 'current')`,
			"2 generations are current", nil},
		{"two being built", oneOfEach + `insert into generations (name, fingerprint, state) values ('g2', '', 'building'), ('g3', '', 'building')`,
			"2 generations are building", nil},
		{"two before it", oneOfEach + `insert into generations (name, fingerprint, state) values ('g2', '', 'previous'), ('g3', '', 'previous')`,
			"2 generations are previous", nil},
		{"none in service", `update generations set state = 'building'`, "there are generations, and none is current", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := mustProjected(t)
			l.must(t, decided+test.breach+recount)
			r := l.mustCheck(t)
			if len(r.Broken) != 1 || r.Broken[0].Law != 4 || r.Broken[0].What != test.what || !slices.Equal(r.Broken[0].Examples, test.examples) {
				t.Errorf("want law 4, %q with %v alone; found %+v", test.what, test.examples, r.Broken)
			}
		})
	}
}
