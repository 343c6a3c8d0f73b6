package ingest

import (
	"slices"
	"sync"
	"time"

	"github.com/nats-io/stan.go"
)

// hand is what was received and not yet acknowledged, in the order of arrival. STAN's callback puts,
// the committing goroutine takes and releases.
type hand struct {
	maxMessages, maxBytes int

	// arrived has a value when something may be waiting.
	arrived chan struct{}
	// missed has a value when the hand has become empty after there was no room for a message.
	missed chan struct{}

	mu      sync.Mutex
	closed  bool
	refused bool                   // for want of room, since the hand was empty
	held    map[identity]*delivery // waiting or being committed
	waiting []*delivery
	bytes   int
}

// identity is a delivery's within one channel.
type identity struct {
	sequence uint64
	stamp    int64
}

// delivery is one message in the hand; msg is its latest delivery and is guarded by the hand's lock.
type delivery struct {
	identity
	received time.Time
	payload  []byte
	msg      *stan.Msg
}

func newHand(maxMessages, maxBytes int) *hand {
	return &hand{
		maxMessages: maxMessages,
		maxBytes:    maxBytes,
		arrived:     make(chan struct{}, 1),
		missed:      make(chan struct{}, 1),
		held:        make(map[identity]*delivery),
	}
}

// put says whether the message is in the hand now, be it since an earlier delivery. It never blocks.
func (h *hand) put(msg *stan.Msg) bool {
	id := identity{msg.Sequence, msg.Timestamp}
	h.mu.Lock()
	defer h.mu.Unlock()
	if d, ok := h.held[id]; ok {
		msg.Data = nil // the payload is held once
		d.msg = msg
		return true
	}
	if h.closed {
		return false
	}
	if len(h.held) >= h.maxMessages || h.bytes > 0 && h.bytes+len(msg.Data) > h.maxBytes {
		h.refused = true
		return false
	}
	d := &delivery{identity: id, received: time.Now(), payload: msg.Data, msg: msg}
	msg.Data = nil // its bytes are counted once
	h.held[id] = d
	h.waiting = append(h.waiting, d)
	h.bytes += len(d.payload)
	signal(h.arrived)
	return true
}

// size is what is in the hand.
func (h *hand) size() (messages, bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.held), h.bytes
}

// signal leaves a value in a channel that has room for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take moves the next batch out of the waiting ones: at most max messages and, but for the first, at
// most maxBytes of payload. They stay in the hand until they are released.
func (h *hand) take(max, maxBytes int) []*delivery {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, bytes := 0, 0
	for n < len(h.waiting) && n < max {
		bytes += len(h.waiting[n].payload)
		if n > 0 && bytes > maxBytes {
			break
		}
		n++
	}
	// A copy, and nothing left behind in the old array, or it would keep what is long acknowledged.
	batch := slices.Clone(h.waiting[:n])
	clear(h.waiting[:n])
	h.waiting = h.waiting[n:]
	if len(h.waiting) == 0 {
		h.waiting = nil
	}
	if len(h.waiting) > 0 {
		signal(h.arrived)
	}
	return batch
}

// release takes a committed batch out of the hand and returns the messages to acknowledge.
func (h *hand) release(batch []*delivery) []*stan.Msg {
	h.mu.Lock()
	defer h.mu.Unlock()
	messages := make([]*stan.Msg, len(batch))
	for i, d := range batch {
		messages[i] = d.msg
		delete(h.held, d.identity)
		h.bytes -= len(d.payload)
	}
	if h.refused && len(h.held) == 0 {
		h.refused = false
		signal(h.missed)
	}
	return messages
}

// close makes every later put refuse what is new.
func (h *hand) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
}
