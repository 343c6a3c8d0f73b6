package chaos

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"orderbox/publisher"
)

// told is a stream of messages, entered into a ledger, and the log that they must give, by the publisher's
// own word for each.
func told() (*ledger, []entry) {
	l := newLedger()
	var log []entry
	made := map[string]int64{}
	for m := range publisher.Messages(5, 600, 0.5) {
		l.publish(m)
		position := int64(len(log) + 1)
		e := entry{origin: origin{"stan", "orders"}, position: position, sequence: position,
			payload: digestOf(m.Payload), fates: 1, verdict: m.Verdict}
		switch m.Verdict {
		case publisher.VerdictOrder:
			made[m.OrderUID] = position
			e.uid, e.served = m.OrderUID, contentOf(m, e.payload)
		case publisher.VerdictDuplicate, publisher.VerdictConflict:
			e.first = made[m.OrderUID]
		}
		log = append(log, e)
	}
	return l, log
}

// A checker that finds nothing is worth nothing: here it is given logs that are not right.
func TestTheCheckerFinds(t *testing.T) {
	t.Parallel()
	// nth is the number of the last entry with a verdict, but for the log's end.
	nth := func(log []entry, verdict string) int {
		for n, e := range slices.Backward(log[:len(log)-1]) {
			if e.verdict == verdict {
				return n
			}
		}
		panic("no " + verdict)
	}
	change := func(verdict string, f func(*entry)) func(*ledger, []entry) []entry {
		return func(_ *ledger, log []entry) []entry {
			f(&log[nth(log, verdict)])
			return log
		}
	}
	repeat := func(log []entry, n int, sequence int64) []entry {
		e := log[n]
		e.position, e.sequence, e.uid, e.served = int64(len(log)+1), sequence, "", digest{}
		if e.verdict == publisher.VerdictOrder {
			e.verdict, e.first = publisher.VerdictDuplicate, log[n].position
		}
		return append(log, e)
	}
	const order = publisher.VerdictOrder
	for _, c := range []struct {
		name string
		do   func(*ledger, []entry) []entry
		want []string // the beginnings of the problems
	}{
		{"nothing where nothing is wrong", func(_ *ledger, log []entry) []entry { return log }, nil},
		{"an order that is lost", func(_ *ledger, log []entry) []entry {
			n := nth(log, order)
			return slices.Delete(log, n, n+1)
		}, []string{"LOST: a message", "LOST: a payload"}},
		{"rubbish that is lost", func(_ *ledger, log []entry) []entry {
			n := nth(log, publisher.VerdictMalformed)
			return slices.Delete(log, n, n+1)
		}, []string{"LOST: a message", "LOST: a payload"}},
		{"the last one lost", func(_ *ledger, log []entry) []entry { return log[:len(log)-1] },
			[]string{"LOST: a payload", "LOST: the log ends"}},
		{"a delivery that is there twice", func(_ *ledger, log []entry) []entry {
			return repeat(log, nth(log, order), log[nth(log, order)].sequence)
		}, []string{"DOUBLED: a payload", "DOUBLED: the log"}},
		{"a publication that is there twice", func(_ *ledger, log []entry) []entry {
			return repeat(log, nth(log, order), int64(len(log)+1))
		}, []string{"DOUBLED: a payload"}},
		{"nothing where it was published once more", func(l *ledger, log []entry) []entry {
			l.publishAgain(l.byDigest[log[nth(log, order)].payload])
			return repeat(log, nth(log, order), int64(len(log)+1))
		}, nil},
		{"another byte", change(order, func(e *entry) { e.payload[0]++ }), []string{"LOST: a payload", "an entry holds what nobody", "the fates do not"}},
		{"an order with other content", change(order, func(e *entry) { e.served[0]++ }), []string{"an order is not what"}},
		{"an order under another uid", change(order, func(e *entry) { e.uid = "another" }), []string{"an order is not what"}},
		{"an order that was refused", change(order, func(e *entry) { e.verdict = publisher.VerdictInvalid }), []string{"an entry has another fate"}},
		{"rubbish that was accepted", change(publisher.VerdictInvalid, func(e *entry) { e.verdict = order }), []string{"an entry has another fate"}},
		{"a conflict taken for a duplicate", change(publisher.VerdictConflict, func(e *entry) { e.verdict = publisher.VerdictDuplicate }), []string{"an entry has another fate"}},
		{"a duplicate of the wrong order", change(publisher.VerdictDuplicate, func(e *entry) { e.first++ }), []string{"a fate points"}},
		{"no fate", change(publisher.VerdictMalformed, func(e *entry) { e.fates = 0 }), []string{"an entry has not exactly one", "the fates do not"}},
		{"two fates", change(order, func(e *entry) { e.fates = 2 }), []string{"an entry has not exactly one", "the fates do not"}},
		{"what came from elsewhere", change(publisher.VerdictMalformed, func(e *entry) { e.source = "operator" }), []string{"LOST: a message", "an entry is not from"}},
		{"positions out of order", func(_ *ledger, log []entry) []entry {
			log[1].position = log[0].position
			return log
		}, []string{"positions do not grow"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, log := told()
			found := new(problems)
			checker := newChecker(l, found, []epoch{{origin: origin{"stan", "orders"}, last: int64(len(log))}})
			for _, e := range c.do(l, log) {
				checker.see(e)
			}
			checker.end()
			got := slices.Sorted(maps.Keys(found.count))
			if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("found %q, want %q", found.lines(), c.want)
			}
		})
	}
}

// What a client is told must be one of what was published, and always the same.
func TestTheLedgerKnowsWhatMayBeServed(t *testing.T) {
	t.Parallel()
	l, log := told()
	n := slices.IndexFunc(log, func(e entry) bool { return e.verdict == publisher.VerdictConflict })
	conflict := log[n]
	order, first := l.payloads[l.byDigest[conflict.payload]].order, log[conflict.first-1]
	refused := l.byUID[""] // nobody's
	for o := range l.orders {
		if len(l.orders[o].contents) == 0 {
			refused = int32(o)
		}
	}
	for _, step := range []struct {
		order int32
		body  digest
		want  string
	}{
		{order, digest{1}, "other bytes"},
		{order, first.served, ""},
		{order, first.served, ""},
		{order, conflict.payload, "two contents"},
		{refused, first.served, "must be refused"},
	} {
		if got := l.serve(step.order, 1, step.body); step.want == "" && got != "" || !strings.Contains(got, step.want) {
			t.Errorf("order %d served as %v: %q, want %q", step.order, step.body, got, step.want)
		}
	}
	if !l.seen(order, 1) || l.seen(order, 0) || l.seen(refused, 1) {
		t.Error("who has served what is not remembered")
	}
}

func TestTheSeedDecidesTheFaults(t *testing.T) {
	t.Parallel()
	const messages, count = 1000, 40
	for name, deck := range map[string][]card{"lone": lone(), "clustered": clustered(), "leaders": leaders(), "relaying": relaying()} {
		all := plan(deck, 1, messages, count)
		if !reflect.DeepEqual(all, plan(deck, 1, messages, count)) || reflect.DeepEqual(all, plan(deck, 2, messages, count)) {
			t.Errorf("%s: the plan does not follow from the seed", name)
		}
		seen := map[card]int{}
		for n, p := range all {
			if p.number != n+1 || p.at < 0 || p.at >= messages || n > 0 && p.at < all[n-1].at {
				t.Errorf("%s: fault %d has number %d and begins at message %d", name, n+1, p.number, p.at)
			}
			p.N = 0
			seen[p.card]++
		}
		for _, f := range deck {
			if seen[f] < count/len(deck) {
				t.Errorf("%s: %v comes %d times", name, f, seen[f])
			}
		}
	}
}

// In a cut-over each message of STAN comes once more by the stream, and must be known for a copy.
func TestTheCheckerFindsCopies(t *testing.T) {
	t.Parallel()
	stream := origin{"jetstream", "ORDERS@now"}
	for _, c := range []struct {
		name string
		do   func(c *checker, copied entry, see func()) // what becomes of the fifth copy
		want []string
	}{
		{"nothing where nothing is wrong", func(_ *checker, _ entry, see func()) { see() }, nil},
		{"one that is lost", func(*checker, entry, func()) {}, []string{"LOST: a message", "the copies"}},
		{"one that is there twice", func(_ *checker, _ entry, see func()) { see(); see() },
			[]string{"DOUBLED: a message was copied", "DOUBLED: the log"}},
		{"one that is taken for a message of its own", func(c *checker, copied entry, _ func()) {
			copied.position, copied.verdict, copied.uid, copied.first = 1_000_000, publisher.VerdictMalformed, "", 0
			c.see(copied)
		}, []string{"DOUBLED: a payload", "an entry has another fate", "the copies"}},
		{"one of the stream's own", func(c *checker, copied entry, _ func()) {
			c.seeCopy(copied, entry{origin: stream, position: copied.position})
		}, []string{"a copy is of the same broker's"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, log := told()
			half, found := len(log)/2, new(problems)
			checker := newChecker(l, found, []epoch{{origin: log[0].origin, last: int64(half)},
				{origin: stream, last: int64(len(log)), copies: int64(half)}})
			for n, e := range log {
				if n >= half {
					e.origin = stream
				}
				checker.see(e)
			}
			for n, e := range log[:half] {
				copied := e
				copied.origin = stream
				see := func() { checker.seeCopy(copied, e) }
				if n != 4 {
					see()
				} else {
					c.do(checker, copied, see)
				}
			}
			checker.end()
			if got := slices.Sorted(maps.Keys(found.count)); !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("found %q, want %q", found.lines(), c.want)
			}
		})
	}
}
