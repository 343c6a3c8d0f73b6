package chaos

import (
	"slices"
	"time"

	"orderbox/publisher"
)

// epoch is the life of one store of a broker.
type epoch struct {
	origin
	until  time.Time // when it was wiped; zero for the last one
	last   int64     // the sequence of the newest message that was to be received, by the broker's own word
	copies int64     // how many of its messages are copies of another broker's, by its own word
}

// entry is one row of the log with its fate, as the database has them.
type entry struct {
	origin
	position int64
	sequence int64
	stamp    time.Time
	payload  digest

	fates   int    // how many it has; one is right
	verdict string // publisher's word for its fate
	uid     string // of the order it made
	served  digest // what is to be served, by the projector's own word
	first   int64  // what it is a duplicate of or lost to; 0 for nothing
}

// origin is where messages come from, as the log calls it.
type origin struct{ source, channel string }

// checker judges a log by what was published. It is not told what the service means to do, and shares
// nothing with it but the reference model.
type checker struct {
	ledger   *ledger
	problems *problems
	epochs   []epoch
	received [][]bool       // by epoch and sequence
	copied   map[int64]bool // the positions of which there are copies

	entries, orders, duplicates int64
	deadLetters                 map[string]int64
	position                    int64
}

func newChecker(l *ledger, p *problems, epochs []epoch) *checker {
	return &checker{ledger: l, problems: p, epochs: epochs,
		received: make([][]bool, len(epochs)), copied: map[int64]bool{}, deadLetters: map[string]int64{}}
}

// see takes the log's entries in the order of their positions.
func (c *checker) see(e entry) {
	c.entries++
	if e.position <= c.position {
		c.problems.add("positions do not grow", "%d after %d", e.position, c.position)
	}
	c.position = e.position
	c.seeDelivery(e)

	n, known := c.ledger.byDigest[e.payload]
	if !known {
		c.problems.add("an entry holds what nobody published", "position %d, sequence %d", e.position, e.sequence)
		return
	}
	p := &c.ledger.payloads[n]
	p.logged++
	if e.fates != 1 {
		c.problems.add("an entry has not exactly one fate", "position %d has %d", e.position, e.fates)
		return
	}
	c.seeFate(e, p)
}

// seeDelivery checks that the broker's message came for the first time.
func (c *checker) seeDelivery(e entry) {
	n := slices.IndexFunc(c.epochs, func(of epoch) bool {
		return of.origin == e.origin && (of.until.IsZero() || !e.stamp.After(of.until))
	})
	if n < 0 || e.sequence < 1 {
		c.problems.add("an entry is not from the broker", "position %d is from %s %s", e.position, e.source, e.channel)
		return
	}
	for int64(len(c.received[n])) <= e.sequence {
		c.received[n] = append(c.received[n], false)
	}
	if c.received[n][e.sequence] {
		c.problems.add("DOUBLED: the log has one message of the broker twice", "store %d, sequence %d, position %d", n+1, e.sequence, e.position)
	}
	c.received[n][e.sequence] = true
}

// seeCopy takes what a broker brought that the log has already, as the original, from the other one.
func (c *checker) seeCopy(e, original entry) {
	c.seeDelivery(e)
	if e.source == original.source {
		c.problems.add("a copy is of the same broker's message", "position %d is a copy of position %d", e.position, original.position)
	}
	if c.copied[original.position] {
		c.problems.add("DOUBLED: a message was copied twice", "position %d is a copy of position %d", e.position, original.position)
	}
	c.copied[original.position] = true
}

// seeFate compares an entry's fate with the one that follows from the entries before it.
func (c *checker) seeFate(e entry, p *payload) {
	want, first := p.refused, int64(0)
	if p.order >= 0 {
		o := &c.ledger.orders[p.order]
		switch {
		case o.position == 0:
			o.position, o.content = e.position, p.content
			want = publisher.VerdictOrder
			if e.uid != o.uid || e.served != p.content {
				c.problems.add("an order is not what its message says", "position %d", e.position)
			}
		case o.content == p.content:
			want, first = publisher.VerdictDuplicate, o.position
		default:
			want, first = publisher.VerdictConflict, o.position
		}
	}
	if e.verdict != want {
		c.problems.add("an entry has another fate than follows from the log", "position %d: %s in place of %s", e.position, e.verdict, want)
	} else if e.first != first {
		c.problems.add("a fate points at the wrong entry", "position %d: %d in place of %d", e.position, e.first, first)
	}
	switch want {
	case publisher.VerdictOrder:
		c.orders++
	case publisher.VerdictDuplicate:
		c.duplicates++
	default:
		c.deadLetters[want]++
	}
}

// end says what is missing, once the whole log was seen.
func (c *checker) end() {
	for n, p := range c.ledger.payloads {
		switch {
		case p.logged < p.times:
			c.problems.add("LOST: a payload is in the log less often than it was published", "payload %d: published %d times, there %d times", n, p.times, p.logged)
		case p.logged > p.times+p.again:
			c.problems.add("DOUBLED: a payload is in the log more often than it was published", "payload %d: published %d times and %d more, there %d times", n, p.times, p.again, p.logged)
		}
	}
	for n, epoch := range c.epochs {
		received := c.received[n]
		if int64(len(received)) <= epoch.last {
			c.problems.add("LOST: the log ends before the broker's store does", "store %d: at %d of %d", n+1, len(received)-1, epoch.last)
		}
		for sequence := 1; sequence < len(received); sequence++ {
			if !received[sequence] {
				c.problems.add("LOST: a message that the broker stored is not in the log", "store %d, sequence %d", n+1, sequence)
			}
		}
	}
	copies := int64(0)
	for _, epoch := range c.epochs {
		copies += epoch.copies
	}
	if got := int64(len(c.copied)); got != copies {
		c.problems.add("the copies are not known for what they are", "%d in place of %d", got, copies)
	}
	if got := c.orders + c.duplicates + c.refused(); got != c.entries {
		c.problems.add("the fates do not add up", "%d fates of %d entries", got, c.entries)
	}
}

// refused is how many dead letters there are.
func (c *checker) refused() (n int64) {
	for _, count := range c.deadLetters {
		n += count
	}
	return n
}
