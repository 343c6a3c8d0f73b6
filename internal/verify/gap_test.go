package verify

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"orderbox/internal/testservers"
)

// second is a stamp, so many seconds after some moment.
func second(n int) time.Time { return time.Date(2026, 2, 1, 0, 0, n, 0, time.UTC) }

// came is a message with a stamp, in the order of commits.
type came struct {
	sequence int64
	second   int
}

// run is from..to, one a second.
func run(from, to int64, second int) (messages []came) {
	for n := from; n <= to; n++ {
		messages = append(messages, came{n, second})
		second++
	}
	return messages
}

func (l log) mustCame(t *testing.T, channel string, messages ...came) {
	t.Helper()
	for _, m := range messages {
		if _, err := l.admin.Exec(t.Context(), `insert into inbox (source, channel, sequence, stamped_at, payload)
			values ('stan', $1, $2, $3, '')`, channel, m.sequence, second(m.second)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGapsAreCountedWithinTheirEpochs(t *testing.T) {
	t.Parallel()
	gap := func(epoch int, from, to int64) GapRange {
		return GapRange{Source: "stan", Channel: "c", Epoch: epoch, From: from, To: to}
	}
	after := func(g GapRange, s int) GapRange { g.After = second(s); return g }
	epoch := func(number, since int, last, received int64) Epoch {
		return Epoch{Source: "stan", Channel: "c", Number: number, Since: second(since), Last: last, Received: received, Missing: last - received}
	}
	for name, c := range map[string]struct {
		came   []came
		epochs []Epoch
		gaps   []GapRange
	}{
		"none, in any order": {[]came{{2, 2}, {1, 1}, {5, 5}, {4, 4}, {3, 3}}, []Epoch{epoch(1, 2, 5, 5)}, nil},
		"the beginning and the middle": {[]came{{3, 0}, {4, 1}, {7, 2}},
			[]Epoch{epoch(1, 0, 7, 3)}, []GapRange{gap(1, 1, 2), after(gap(1, 5, 6), 1)}},
		"a hole is filled late, from all sides": {slices.Concat([]came{{1, 1}, {10, 10}}, []came{{5, 5}, {2, 2}, {9, 9}, {7, 7}, {3, 3}}),
			[]Epoch{epoch(1, 1, 10, 7)}, []GapRange{after(gap(1, 4, 4), 3), after(gap(1, 6, 6), 5), after(gap(1, 8, 8), 7)}},
		"the broker lost its store": {slices.Concat(run(1, 9, 0), run(1, 20, 60)),
			[]Epoch{epoch(1, 0, 9, 9), epoch(2, 60, 20, 20)}, nil},
		"twice": {slices.Concat(run(1, 9, 0), run(1, 2, 60), run(1, 4, 90)),
			[]Epoch{epoch(1, 0, 9, 9), epoch(2, 60, 2, 2), epoch(3, 90, 4, 4)}, nil},
		"and we had come late to it": {slices.Concat(run(8, 9, 0), run(1, 9, 60)),
			[]Epoch{epoch(1, 0, 9, 2), epoch(2, 60, 9, 9)}, []GapRange{gap(1, 1, 7)}},
		"and we come late to the new one": {slices.Concat(run(1, 9, 0), run(5, 12, 60)),
			[]Epoch{epoch(1, 0, 9, 9), epoch(2, 60, 12, 8)}, []GapRange{gap(2, 1, 4)}},
		"and one of the old ones comes last": {slices.Concat(run(1, 8, 0), run(1, 3, 60), []came{{9, 9}}, run(4, 5, 64)),
			[]Epoch{epoch(1, 0, 9, 9), epoch(2, 60, 5, 5)}, nil},
		"and its clock is behind": {slices.Concat(run(1, 9, 60), run(1, 20, 55)),
			[]Epoch{epoch(1, 60, 9, 9), epoch(2, 55, 20, 20)}, nil},
		"the clock stepped back": {slices.Concat(run(1, 9, 60), run(10, 30, 0), run(31, 40, 65)),
			[]Epoch{epoch(1, 60, 40, 40)}, nil},
		"the clock stepped back, and one from before comes late": {slices.Concat(run(1, 8, 60), run(10, 30, 0), []came{{9, 69}}, run(31, 40, 65)),
			[]Epoch{epoch(1, 60, 40, 40)}, nil},
		"the clock stepped back after a store was lost": {slices.Concat(run(1, 9, 0), run(1, 9, 60), []came{{11, 31}, {10, 30}}, run(12, 30, 32)),
			[]Epoch{epoch(1, 0, 9, 9), epoch(2, 60, 30, 30)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := mustLog(t)
			l.must(t, `delete from inbox`)
			l.mustCame(t, "c", c.came...)
			r := l.mustCheck(t)
			var missing int64
			for _, g := range c.gaps {
				missing += g.To - g.From + 1
			}
			if !slices.Equal(r.Epochs, c.epochs) || !slices.Equal(r.GapRanges, c.gaps) || r.Gaps != missing || len(r.Broken) != 0 {
				t.Errorf("epochs %+v\nwant   %+v\ngaps %+v (%d)\nwant %+v (%d); broken %+v",
					r.Epochs, c.epochs, r.GapRanges, r.Gaps, c.gaps, missing, r.Broken)
			}
		})
	}
}

func TestOnlyTheFirstGapsAreShown(t *testing.T) {
	t.Parallel()
	l := mustLog(t)
	l.must(t, `delete from inbox;
		insert into inbox (source, channel, sequence, stamped_at, payload)
		select 'stan', 'holey', n * 10, timestamptz '2026-01-01Z' + n * interval '1 s', '' from generate_series(1, 100) as n`)
	if r := l.mustCheck(t); r.Gaps != 900 || len(r.GapRanges) != gapRanges {
		t.Errorf("%d missing in %d ranges", r.Gaps, len(r.GapRanges))
	}
}

func TestGapsAreFollowed(t *testing.T) {
	t.Parallel()
	l := mustLog(t)
	var g Gaps
	mustMiss := func(when string, messages, gaps int64) {
		t.Helper()
		if err := g.Follow(t.Context(), l.reader); err != nil {
			t.Fatal(err)
		}
		if m, n := g.Missing(0); m != messages || n != gaps {
			t.Errorf("%s: %d missing in %d gaps, want %d in %d", when, m, n, messages, gaps)
		}
	}
	mustMiss("at first", 0, 0)
	l.mustCame(t, "c", came{3, 3}, came{5, 5})
	mustMiss("after two gaps", 3, 2)
	if m, n := g.Missing(time.Hour); m != 0 || n != 0 {
		t.Errorf("%d missing in %d gaps for an hour", m, n)
	}
	l.mustCame(t, "c", came{1, 1}, came{4, 4})
	mustMiss("when two came late", 1, 1)
	l.must(t, `delete from inbox where position > 5; alter table inbox alter column position restart with 6`)
	l.mustCame(t, "d", run(2, 20, 60)...)
	mustMiss("of an older copy of the database that has grown beyond since", 1, 1)
}

// What is remembered of a very holey channel is bounded, and the count stays right.
func TestGapsAreBounded(t *testing.T) {
	t.Parallel()
	l := mustLog(t)
	l.must(t, `delete from inbox;
		insert into inbox (source, channel, sequence, stamped_at, payload)
		select 'stan', 'holey', n * 2, timestamptz '2026-01-01Z' + n * interval '1 ms', '' from generate_series(1, 70000) as n;
		insert into inbox (source, channel, sequence, stamped_at, payload)
		values ('stan', 'holey', 3, '2026-01-01Z', ''), ('stan', 'holey', 139999, '2026-01-01Z', '')`)
	var g Gaps
	if err := g.Follow(t.Context(), l.reader); err != nil {
		t.Fatal(err)
	}
	// 1 of the 70,000 was filled where that is remembered, and one where it is not.
	if m, n := g.Missing(0); m != 69_999 || n != 69_999 || len(g.counts[channel{"stan", "holey"}].epochs[0].holes) != maxHoles-1 {
		t.Errorf("%d missing in %d gaps", m, n)
	}
}

// The limit is PostgreSQL sending a row for each message.
func BenchmarkGaps(b *testing.B) {
	const messages = 50_000
	db := testservers.Database(b)
	admin, reader := testservers.Open(b, db.AdminURL, 1), testservers.Open(b, db.ReaderURL, 1)
	if _, err := admin.Exec(b.Context(), `insert into inbox (source, channel, sequence, stamped_at, payload)
		select 'stan', 'orders', n, timestamptz '2026-01-01Z' + n * interval '1 ms', convert_to(repeat('x', 1000), 'UTF8')
		from generate_series(1, $1::bigint) as n where n % 1000 <> 0`, messages); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var g Gaps
		if err := g.Follow(b.Context(), reader); err != nil {
			b.Fatal(err)
		}
		if m, n := g.Missing(0); m != n || n != messages/1000-1 {
			b.Fatal(m, n)
		}
	}
	b.ReportMetric(float64(b.N)*messages/b.Elapsed().Seconds(), "messages/s")
}

// What came by two brokers is in the log once and counted by both: here 1 and 2 of a stream are copies, 3 is not, and 4 is
// missing.
func TestCopiesAreCountedAsTheirBrokerCountsThem(t *testing.T) {
	t.Parallel()
	l := mustLog(t)
	l.must(t, `delete from inbox; alter table inbox alter column position restart with 1`)
	l.mustCame(t, "c", run(1, 3, 0)...)
	l.must(t, `insert into copies (position, source, channel, sequence, stamped_at, original)
		select nextval('inbox_position_seq'), 'jetstream', 'S@1', n, timestamptz '2026-02-01 00:01:00Z' + n * interval '1 s', n
		from generate_series(1, 2) as n;
		insert into inbox (source, channel, sequence, stamped_at, payload) values ('jetstream', 'S@1', 3, '2026-02-01 00:01:03Z', ''),
			('jetstream', 'S@1', 5, '2026-02-01 00:01:05Z', '')`)
	r := l.mustCheck(t)
	epochs := []Epoch{
		{Source: "jetstream", Channel: "S@1", Number: 1, Since: second(61), Last: 5, Received: 4, Missing: 1},
		{Source: "stan", Channel: "c", Number: 1, Since: second(0), Last: 3, Received: 3},
	}
	gaps := []GapRange{{Source: "jetstream", Channel: "S@1", Epoch: 1, From: 4, To: 4, After: second(63)}}
	if !slices.Equal(r.Epochs, epochs) || !slices.Equal(r.GapRanges, gaps) || r.Received != 5 || len(r.Broken) != 0 {
		t.Errorf("epochs %+v, gaps %+v, received %d, broken %+v", r.Epochs, r.GapRanges, r.Received, r.Broken)
	}
	var g Gaps
	for n := range 2 { // the last one that was read is of copies, and is found there again
		if err := g.Follow(t.Context(), l.reader); err != nil {
			t.Fatal(err)
		}
		if m, n := g.Missing(0); m != 1 || n != 1 {
			t.Errorf("%d missing in %d gaps", m, n)
		}
		l.must(t, fmt.Sprintf(`insert into copies (position, source, channel, sequence, stamped_at, original)
			values (nextval('inbox_position_seq'), 'jetstream', 'S@1', %d, '2026-02-01 00:01:06Z', 3)`, 6+n))
	}
	l.must(t, `insert into copies (position, source, channel, sequence, stamped_at, original)
		values (nextval('inbox_position_seq'), 'jetstream', 'S@1', 8, '2026-02-01 00:01:08Z', 0)`) // its month was detached before it came
	if r := l.mustCheck(t); len(r.Broken) != 0 || r.Epochs[0].Received != 7 {
		t.Errorf("a copy of what was detached: %+v, epochs %+v", r.Broken, r.Epochs)
	}
	l.must(t, `delete from inbox where position = 2`)
	if r := l.mustCheck(t); len(r.Broken) != 1 || r.Broken[0].Law != 2 || !slices.Equal(r.Broken[0].Examples, []int64{5}) {
		t.Errorf("a copy of a message that is gone: %+v", r.Broken)
	}
}
