package verify

import (
	"slices"
	"testing"
	"time"
)

func TestWhatTheBrokerHasAndTheLogLacksIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		came        []came
		more        string // statements
		first, last int64
		since       time.Time
		lacks       []Range
	}{
		"nothing":                       {came: run(1, 9, 0), first: 1, last: 9, since: second(0)},
		"nothing, and the log is ahead": {came: run(1, 9, 0), first: 1, last: 7, since: second(0)},
		"the end":                       {came: run(1, 9, 0), first: 1, last: 12, since: second(0), lacks: []Range{{10, 12}}},
		"the beginning and the middle": {came: slices.Concat(run(3, 4, 3), run(7, 9, 7)), first: 1, last: 9, since: second(1),
			lacks: []Range{{1, 2}, {5, 6}}},
		"everything": {first: 1, last: 9, since: second(1), lacks: []Range{{1, 9}}},
		"what the broker dropped is not asked for": {came: run(7, 9, 7), first: 5, last: 9, since: second(5), lacks: []Range{{5, 6}}},
		"the broker has another store": {came: slices.Concat(run(1, 9, 0), run(1, 2, 60)), first: 1, last: 4, since: second(60),
			lacks: []Range{{3, 4}}},
		"and nothing of it is here": {came: run(1, 9, 0), first: 1, last: 4, since: second(60), lacks: []Range{{1, 4}}},
		"the broker's clock stepped back": {came: slices.Concat(run(1, 5, 60), run(6, 9, 0)), first: 1, last: 10, since: second(60),
			lacks: []Range{{10, 10}}},
		"copies are there": {came: run(1, 3, 0), more: `insert into copies (position, source, channel, sequence, stamped_at, original)
			values (100, 'stan', 'c', 4, '2026-02-01 00:00:03Z', 1)`, first: 1, last: 5, since: second(0), lacks: []Range{{5, 5}}},
		"what was detached is not lacking": {came: run(5, 6, 5), more: `
			insert into detached (partition, source, channel, messages, first, last, last_sequence, last_stamp)
			values ('inbox_x', 'stan', 'c', 3, 1, 3, 3, '2026-02-01 00:00:03Z')`, first: 1, last: 7, since: second(1),
			lacks: []Range{{4, 4}, {7, 7}}},
		"what was detached of another store does not count": {came: run(3, 4, 60), more: `
			insert into detached (partition, source, channel, messages, first, last, last_sequence, last_stamp)
			values ('inbox_x', 'stan', 'c', 3, 1, 3, 3, '2026-02-01 00:00:03Z')`, first: 1, last: 4, since: second(58),
			lacks: []Range{{1, 2}}},
		"a count that is never mistaken": {came: run(1, 3, 0), first: 1, last: 4, lacks: []Range{{4, 4}}},
		"an empty broker":                {came: run(1, 3, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := mustLog(t)
			l.mustCame(t, "c", c.came...)
			l.mustCame(t, "another", run(1, 20, 0)...)
			if c.more != "" {
				l.must(t, c.more)
			}
			b := Broker{Source: "stan", Channel: "c", First: c.first, Last: c.last, Since: c.since}
			if err := CheckBroker(t.Context(), l.reader, &b); err != nil {
				t.Fatal(err)
			}
			var lacking int64
			for _, r := range c.lacks {
				lacking += r.To - r.From + 1
			}
			if b.Lacking != lacking || !slices.Equal(b.Ranges, c.lacks) {
				t.Errorf("the log lacks %d: %v, want %v", b.Lacking, b.Ranges, c.lacks)
			}
		})
	}
}
