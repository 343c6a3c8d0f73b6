package chaos

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"

	"orderbox"
	"orderbox/publisher"
)

// digest stands for bytes, for a million payloads are too many to keep.
type digest [16]byte

func digestOf(content []byte) digest {
	sum := sha256.Sum256(content)
	return digest(sum[:16])
}

func (d digest) String() string { return fmt.Sprintf("%x", d[:8]) }

// payload is what the ledger knows of one payload, however often it was sent.
type payload struct {
	refused string // the reason for which it must be refused; empty when it says an order
	order   int32  // which order it says
	content digest // what is served when it makes the order
	times   int32  // published
	again   int32  // published once more because no confirmation had come
	logged  int32  // found in the log; the checker's
}

// order is one order_uid: of an order, or of what must never become one.
type order struct {
	uid      string
	contents []digest // what was published for it; none when all of it must be refused
	served   digest   // what a client got first
	seen     uint32   // a bit for each replica that has served it
	position int64    // of the entry that made it, 0 for none; the checker's
	content  digest   // which that entry says; the checker's
}

// ledger is what was published. Its methods may be called concurrently.
type ledger struct {
	mu       sync.Mutex
	payloads []payload
	orders   []order
	byDigest map[digest]int32
	byUID    map[string]int32
	kinds    map[string]int // messages by verdict in the order of publication

	doubts   bool  // whether orders are in doubt, and from which on
	doubtful int32 // see doubt
}

func newLedger() *ledger {
	return &ledger{byDigest: map[digest]int32{}, byUID: map[string]int32{}, kinds: map[string]int{}}
}

// publish enters a message that is about to be published and returns the number of its payload.
func (l *ledger) publish(m publisher.Message) int32 {
	key := digestOf(m.Payload)
	p := payload{order: -1}
	var said digest
	switch m.Verdict {
	case publisher.VerdictMalformed, publisher.VerdictInvalid:
		p.refused = m.Verdict
	default:
		said = contentOf(m, key)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kinds[m.Verdict]++
	o, known := l.byUID[m.OrderUID]
	if !known {
		o = int32(len(l.orders))
		l.byUID[m.OrderUID] = o
		l.orders = append(l.orders, order{uid: m.OrderUID})
	}
	if p.refused == "" {
		p.order, p.content = o, said
		l.orders[o].contents = append(l.orders[o].contents, said)
	}
	n, known := l.byDigest[key]
	if !known {
		n = int32(len(l.payloads))
		l.byDigest[key] = n
		l.payloads = append(l.payloads, p)
	}
	l.payloads[n].times++
	return n
}

// contentOf is the digest of what is served for a message that says an order. A plain order is published
// as it is served.
func contentOf(m publisher.Message, key digest) digest {
	if m.Kind == "" {
		return key
	}
	var o orderbox.Order
	if err := json.Unmarshal(m.Payload, &o); err != nil {
		panic(err) // the publisher's tests see to it that it is JSON
	}
	return digestOf(o.JSON())
}

// publishAgain enters that a payload may be on the channel once more.
func (l *ledger) publishAgain(payload int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.payloads[payload].again++
}

// pick chooses an order to look up: half of the time one of the latest. ok is false while there is none.
func (l *ledger) pick() (n int32, uid string, ok bool) {
	const latest = 2000
	l.mu.Lock()
	defer l.mu.Unlock()
	count := len(l.orders)
	if count == 0 {
		return 0, "", false
	}
	i := rand.IntN(count)
	if count > latest && rand.IntN(2) == 0 {
		i = count - 1 - rand.IntN(latest)
	}
	return int32(i), l.orders[i].uid, true
}

// doubt permits that orders which are published from now on are denied after they were served, and served otherwise, until trust
// is called: the database may lose them, and of two messages that conflict the other one may come to the log first then.
func (l *ledger) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubts, l.doubtful = true, int32(len(l.orders))
}

// trust holds replicas to what they serve from now on.
func (l *ledger) trust() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubts = false
	for i := range l.orders[l.doubtful:] {
		o := &l.orders[int(l.doubtful)+i]
		o.served, o.seen = digest{}, 0
	}
}

// seen says whether a replica has served an order before, and may not deny it.
func (l *ledger) seen(order int32, replica int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.doubts && order >= l.doubtful {
		return false
	}
	return l.orders[order].seen&(1<<replica) != 0
}

// serve enters what a replica served and says what is wrong with it; empty for nothing.
func (l *ledger) serve(order int32, replica int, body digest) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := &l.orders[order]
	known := false
	for _, content := range o.contents {
		known = known || content == body
	}
	switch {
	case len(o.contents) == 0:
		return "what must be refused was served"
	case !known:
		return "an order was served with other bytes than were published"
	case o.served == digest{}, l.doubts && order >= l.doubtful:
		o.served = body
	case o.served != body:
		return "an order was served with two contents"
	}
	o.seen |= 1 << replica
	return ""
}
