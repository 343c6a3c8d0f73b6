package ingest

import (
	"context"
	"slices"
	"sync"
	"time"

	"orderbox/inbox"
)

// hand is what was received and not yet acknowledged, in the order of arrival. A session puts, the committing goroutine
// takes and releases.
type hand struct {
	maxMessages, maxBytes int

	// arrived has a value when something may be waiting.
	arrived chan struct{}
	// missed has a value when the hand has become empty after there was no room for a message.
	missed chan struct{}
	// freed has a value when something was released.
	freed chan struct{}

	mu      sync.Mutex
	closed  bool
	refused bool                   // for want of room, since the hand was empty
	held    map[identity]*delivery // waiting or being committed
	waiting []*delivery
	bytes   int
}

// identity is a message's among those of one source.
type identity struct {
	channel  string
	sequence uint64
	stamp    int64 // nanoseconds since 1970
}

// delivery is one message in the hand.
type delivery struct {
	identity
	received time.Time
	payload  []byte
	copyOf   *inbox.Identity // nil for none
	first    bool            // the durable subscription delivers it, and to nobody before
	ack      acknowledger    // of its latest delivery, guarded by the hand's lock; nil for one that was asked for besides
}

// acknowledger tells the broker that a message is committed.
type acknowledger interface{ Ack() error }

func newHand(maxMessages, maxBytes int) *hand {
	return &hand{
		maxMessages: maxMessages,
		maxBytes:    maxBytes,
		arrived:     make(chan struct{}, 1),
		missed:      make(chan struct{}, 1),
		freed:       make(chan struct{}, 1),
		held:        make(map[identity]*delivery),
	}
}

// put says whether the message is in the hand now, be it since an earlier delivery. It never blocks. Whoever delivered
// it keeps nothing of the payload, which is counted once.
func (h *hand) put(d *delivery) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	held, full := h.tryPut(d)
	h.refused = h.refused || full
	return held
}

// tryPut says whether the message is in the hand now, or is not for want of room. It wants the lock.
func (h *hand) tryPut(d *delivery) (held, full bool) {
	if there, ok := h.held[d.identity]; ok {
		if d.ack != nil {
			there.ack = d.ack
		}
		return true, false
	}
	if h.closed {
		return false, false
	}
	if !h.fits(len(d.payload)) {
		return false, true
	}
	d.received = time.Now()
	h.held[d.identity] = d
	h.waiting = append(h.waiting, d)
	h.bytes += len(d.payload)
	signal(h.arrived)
	return true, false
}

// fits wants the lock.
func (h *hand) fits(bytes int) bool {
	return len(h.held) < h.maxMessages && (h.bytes == 0 || h.bytes+bytes <= h.maxBytes)
}

// putWhenFits is put that waits for room. It says no when the hand is closed or ctx ends.
func (h *hand) putWhenFits(ctx context.Context, d *delivery) bool {
	for {
		h.mu.Lock()
		held, full := h.tryPut(d)
		h.mu.Unlock()
		if !full {
			return held
		}
		select {
		case <-h.freed:
		case <-time.After(freedPoll): // somebody else who waits may have taken the signal
		case <-ctx.Done():
			return false
		}
	}
}

const freedPoll = 100 * time.Millisecond

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

// release takes a committed batch out of the hand and returns what acknowledges it.
func (h *hand) release(batch []*delivery) []acknowledger {
	h.mu.Lock()
	defer h.mu.Unlock()
	acks := make([]acknowledger, 0, len(batch))
	for _, d := range batch {
		if d.ack != nil {
			acks = append(acks, d.ack)
		}
		delete(h.held, d.identity)
		h.bytes -= len(d.payload)
	}
	signal(h.freed)
	if h.refused && len(h.held) == 0 {
		h.refused = false
		signal(h.missed)
	}
	return acks
}

// close makes every later put refuse what is new.
func (h *hand) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
}
