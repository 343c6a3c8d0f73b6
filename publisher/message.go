package publisher

import (
	"iter"
	"math"
	"math/rand/v2"
	"slices"

	"orderbox"
)

// What the service must make of a message. The first two words are an order's fate, the others are the
// reasons of dead letters.
const (
	VerdictOrder     = "order"
	VerdictDuplicate = "duplicate"
	VerdictMalformed = "malformed" // no strict JSON
	VerdictInvalid   = "invalid"   // violates the order schema
	VerdictConflict  = "conflict"  // the order_uid was there already, with other content
)

// Message is one generated message. Its payload may hold made-up personal data.
type Message struct {
	Payload []byte
	// Kind names the rubbish, in words; empty for a plain order.
	Kind string
	// Verdict is one of the constants; it holds when the messages arrive in the order of the stream and
	// each for the first time.
	Verdict string
	// OrderUID is that of the order that the message was made from. With a verdict other than malformed
	// and invalid the order is there afterwards; with these two it is not.
	OrderUID string
}

// remembered bounds how far back a duplicate or a conflict reaches.
const remembered = 1000

// Messages is a stream of count messages, of which the share rubbish (0 to 1; see Rubbish) is rubbish, in
// random places. Every kind of rubbish comes once before any comes twice. The others are orders as in
// Orders(seed), and the same arguments always give the same bytes. Duplicates and conflicts refer to
// earlier orders of the stream.
//
// The sequence may be ranged over several times, also concurrently; it begins anew each time.
func Messages(seed uint64, count int, rubbish float64) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		s := &tale{
			rand:   rand.New(rand.NewPCG(seed, 2)),
			orders: newGenerator(seed),
			kinds:  kinds(),
		}
		wanted := Rubbish(count, rubbish)
		for left := count; left > 0; left-- {
			var m Message
			// Exactly wanted of the messages left, each set of places being equally likely.
			if s.rand.IntN(left) < wanted {
				wanted--
				m = s.rubbish()
			} else {
				m = s.order()
			}
			if !yield(m) {
				return
			}
		}
	}
}

// Payloads are the payloads of messages, as Publish takes them.
func Payloads(messages iter.Seq[Message]) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for m := range messages {
			if !yield(m.Payload, nil) {
				return
			}
		}
	}
}

// Rubbish is how many of count messages are rubbish when the share of it is rubbish.
func Rubbish(count int, rubbish float64) int {
	return int(math.Round(float64(count) * min(max(rubbish, 0), 1)))
}

// tale remembers what a stream of messages has told so far.
type tale struct {
	rand    *rand.Rand
	orders  *generator
	kinds   []kind
	deck    []kind           // the kinds still to come in this round
	earlier []orderbox.Order // a ring of the newest ones
	oldest  int
}

func (s *tale) order() Message {
	o := s.orders.order()
	s.remember(o)
	return Message{Payload: o.JSON(), Verdict: VerdictOrder, OrderUID: o.OrderUID}
}

func (s *tale) rubbish() Message {
	k := s.draw()
	var o orderbox.Order
	if k.earlier {
		o = pick(s.rand, s.earlier)
	} else {
		o = s.orders.order()
	}
	m := Message{Kind: k.name, Verdict: k.verdict, OrderUID: o.OrderUID}
	if k.verdict == VerdictOrder {
		s.remember(o)
	}
	o.Items = slices.Clone(o.Items) // the remembered order stays as it is
	m.Payload = k.make(o, s.rand)
	return m
}

// draw takes a kind from a shuffled deck. As long as there is no order to refer to, it passes over the
// kinds that need one; others are always there, for each round has some that make orders.
func (s *tale) draw() kind {
	if len(s.deck) == 0 {
		s.deck = slices.Clone(s.kinds)
		s.rand.Shuffle(len(s.deck), func(i, j int) { s.deck[i], s.deck[j] = s.deck[j], s.deck[i] })
	}
	i := slices.IndexFunc(s.deck, func(k kind) bool { return !k.earlier || len(s.earlier) > 0 })
	k := s.deck[i]
	s.deck = slices.Delete(s.deck, i, i+1)
	return k
}

func (s *tale) remember(o orderbox.Order) {
	if len(s.earlier) < remembered {
		s.earlier = append(s.earlier, o)
		return
	}
	s.earlier[s.oldest] = o
	s.oldest = (s.oldest + 1) % remembered
}
