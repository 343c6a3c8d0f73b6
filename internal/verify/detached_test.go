package verify

import (
	"slices"
	"testing"
)

// Positions 1 to 4 are taken out of the log on purpose: two orders, a duplicate and one more order, on which others lean.
func TestWhatWasDetachedIsNoLoss(t *testing.T) {
	t.Parallel()
	l := mustProjected(t)
	l.must(t, `
		insert into inbox (source, channel, sequence, stamped_at, payload, original) values ('operator', 'retry', 1, '2026-01-03Z', '', 6);
		insert into decisions (position, kind, entry, decided_by, note) values (6, 'retry', 11, '', ''), (2, 'retry', 4, '', '');
		delete from inbox where position <= 4;
		insert into detached (partition, source, channel, messages, first, last, last_sequence, last_stamp)
		values ('inbox_x', 'stan', 'orders', 4, 1, 4, 4, '2026-01-01 00:00:04Z')`)
	want := Balance{Received: 11, Orders: 6, Duplicates: 2, DeadLetters: 2, Pending: 1, Checkpoint: 10, Head: 11}
	r := l.mustCheck(t)
	if r.Balance != want || r.Detached != 4 || r.Gaps != 0 || len(r.GapRanges) != 0 || len(r.Broken) != 0 {
		t.Errorf("report %+v", r)
	}
	if e := r.Epochs[0]; len(r.Epochs) != 1 || e.Detached != 4 || e.Received != 6 || e.Missing != 0 {
		t.Errorf("epochs %+v", r.Epochs)
	}
	var g Gaps
	if err := g.Follow(t.Context(), l.reader); err != nil {
		t.Fatal(err)
	}
	if messages, gaps := g.Missing(0); messages != 0 || gaps != 0 {
		t.Errorf("%d missing in %d gaps", messages, gaps)
	}

	l.must(t, `delete from inbox where position in (5, 8)`)
	r = l.mustCheck(t)
	missing := []GapRange{{Source: "stan", Channel: "orders", Epoch: 1, From: 5, To: 5}, {Source: "stan", Channel: "orders", Epoch: 1, From: 8, To: 8}}
	for i := range r.GapRanges {
		r.GapRanges[i].After = missing[0].After
	}
	if r.Detached != 4 || r.Gaps != 2 || !slices.Equal(r.GapRanges, missing) ||
		len(r.Broken) != 1 || !slices.Equal(r.Broken[0].Examples, []int64{5, 8}) {
		t.Errorf("two more are lost, and the report is %+v", r)
	}
}

// mustDetachedLog is a log of which nothing is left but the note of what was detached.
func mustDetachedLog(t *testing.T, rows string) log {
	t.Helper()
	l := mustLog(t)
	l.must(t, `delete from inbox;
		insert into detached (partition, source, channel, messages, first, last, last_sequence, last_stamp)
		values `+rows)
	return l
}

// What was detached comes again in spite of it, and is nothing new.
func TestADetachedMessageThatComesAgainIsNoEpoch(t *testing.T) {
	t.Parallel()
	l := mustDetachedLog(t, `('inbox_x', 'stan', 'c', 9, 1, 9, 9, '2026-02-01 00:00:09Z')`)
	l.mustCame(t, "c", slices.Concat(run(11, 15, 11), run(3, 4, 3), run(1, 5, 60))...)
	r := l.mustCheck(t)
	if len(r.Epochs) != 2 || r.Gaps != 1 || r.Epochs[0].Detached != 7 || r.Epochs[0].Missing != 1 || r.Epochs[1].Received != 5 {
		t.Errorf("epochs %+v, gaps %+v", r.Epochs, r.GapRanges)
	}
}

// Before anything new did, it came again; and a month that was detached later began earlier.
func TestTheFirstThatIsLeftWasDetached(t *testing.T) {
	t.Parallel()
	l := mustDetachedLog(t, `('inbox_x', 'stan', 'c', 4, 1, 10, 4, '2026-02-01 00:00:04Z'), ('inbox_y', 'stan', 'c', 5, 5, 9, 9, '2026-02-01 00:00:09Z')`)
	l.mustCame(t, "c", slices.Concat(run(3, 4, 3), run(11, 15, 11))...)
	r := l.mustCheck(t)
	if e := r.Epochs[0]; len(r.Epochs) != 1 || r.Gaps != 1 || e.Detached != 7 || e.Missing != 1 || e.Received != 7 {
		t.Errorf("epochs %+v, gaps %+v", r.Epochs, r.GapRanges)
	}
}

// Nothing of what is missing of a broker that counts anew is taken for detached.
func TestABrokerCountsAnewAfterADetachment(t *testing.T) {
	t.Parallel()
	l := mustDetachedLog(t, `('inbox_x', 'stan', 'c', 9, 1, 9, 9, '2026-02-01 00:00:09Z')`)
	l.mustCame(t, "c", run(4, 12, 60)...)
	if r := l.mustCheck(t); len(r.Epochs) != 1 || r.Gaps != 3 || r.Epochs[0].Detached != 0 {
		t.Errorf("epochs %+v, gaps %+v", r.Epochs, r.GapRanges)
	}
}
