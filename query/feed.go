package query

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"time"
)

const (
	// maxSubscribers bounds those who follow the events; pages that find no place ask again later.
	maxSubscribers = 256
	// feedOrdersEvery and feedStatsEvery are how often it is looked for something new, as long as anybody follows:
	// in a flood, that many events reach each subscriber and no more.
	feedOrdersEvery = 250 * time.Millisecond
	feedStatsEvery  = time.Second
)

// feed has the latest event of each kind for all subscribers at once. Each event says how things are rather than
// what has changed, so that a subscriber who misses some lacks nothing and none has a queue: whoever is slow
// holds up nobody and costs no memory.
type feed struct {
	mu          sync.Mutex
	subscribers int
	latest      [feedKinds]feedEvent
	changed     chan struct{} // closed when an event is replaced
	stopped     chan struct{} // closed when there will be no more
}

// feedEvent is an event as it is sent; its number is 0 while there is none.
type feedEvent struct {
	number uint64
	text   []byte
}

// The kinds of events.
const (
	feedOrders = iota
	feedStats
	feedKinds
)

var feedNames = [feedKinds]string{"orders", "stats"}

func newFeed() *feed {
	return &feed{changed: make(chan struct{}), stopped: make(chan struct{})}
}

// join takes a subscriber's place and says whether there was one.
func (f *feed) join() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.subscribers == maxSubscribers {
		return false
	}
	f.subscribers++
	return true
}

// leave gives it back. What nobody keeps up to date is told to nobody later.
func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.subscribers--; f.subscribers == 0 {
		f.latest = [feedKinds]feedEvent{}
	}
}

func (f *feed) followed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.subscribers > 0
}

// tell replaces the event of a kind. number tells it from the one before; the same one again changes nothing.
func (f *feed) tell(kind int, number uint64, v any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.subscribers == 0 || f.latest[kind].number == number {
		return nil
	}
	var text bytes.Buffer
	text.WriteString("event: " + feedNames[kind] + "\ndata: ")
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // on one line, whatever is in it
		return err
	}
	text.WriteByte('\n')
	f.latest[kind] = feedEvent{number, text.Bytes()}
	close(f.changed)
	f.changed = make(chan struct{})
	return nil
}

// news returns the events that a subscriber has not seen, which it has then, and what is closed when there are more.
func (f *feed) news(seen *[feedKinds]uint64) (events [][]byte, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for kind, e := range f.latest {
		if e.number != seen[kind] && e.number > 0 {
			events = append(events, e.text)
			seen[kind] = e.number
		}
	}
	return events, f.changed
}

// ordersNews is the event "orders": what the home page lists.
type ordersNews struct {
	Count  int         `json:"count"` // all orders
	Latest []orderNews `json:"latest"`
}

// orderNews is an order in it, without anything personal.
type orderNews struct {
	OrderUID    string `json:"order_uid"`
	Position    int64  `json:"position"`
	DateCreated string `json:"date_created"`
	Items       int    `json:"items"`
	Amount      int64  `json:"amount"`
	Currency    string `json:"currency"`
}

// statsNews is the event "stats": the balance and how fast it changes.
type statsNews struct {
	At    time.Time `json:"at"`
	Stats *Stats    `json:"stats"` // null while the database does not say
	Rates *rates    `json:"rates"` // null while there is nothing to compare with
}

// rates are by the second, since the balance was last read.
type rates struct {
	Received    float64 `json:"received"`
	Orders      float64 `json:"orders"`
	Duplicates  float64 `json:"duplicates"`
	DeadLetters float64 `json:"dead_letters"`
}

// runFeed tells the subscribers what is new until ctx ends.
func (s *Server) runFeed(ctx context.Context) {
	defer close(s.feed.stopped)
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { s.every(ctx, feedOrdersEvery, s.ordersNews()) })
	if s.o.Stats != nil {
		group.Go(func() { s.every(ctx, feedStatsEvery, s.statsNews()) })
	}
}

// every calls look as long as anybody follows.
func (s *Server) every(ctx context.Context, interval time.Duration, look func(context.Context) error) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !s.feed.followed() {
			continue
		}
		if err := look(ctx); err != nil {
			s.log.Error("events failed", "error", err)
		}
	}
}

// ordersNews returns what looks for orders that have become visible. A poll and not a call by the follower, who
// has better things to do in a flood.
func (s *Server) ordersNews() func(context.Context) error {
	var told *cache
	var count int
	var number uint64
	return func(context.Context) error {
		c := s.cache()
		if !c.complete.Load() {
			return nil // the latest so far are among the oldest there are
		}
		if now := c.total(); c != told || now != count {
			told, count = c, now
			number++
		}
		if s.feed.has(feedOrders, number) {
			return nil
		}
		news := ordersNews{Count: count, Latest: []orderNews{}}
		for _, e := range c.latest(0, latestOnPage) {
			o, err := decode(e)
			if err != nil {
				return err
			}
			news.Latest = append(news.Latest, orderNews{OrderUID: o.OrderUID, Position: e.position, DateCreated: o.DateCreated,
				Items: len(o.Items), Amount: o.Payment.Amount, Currency: o.Payment.Currency})
		}
		return s.feed.tell(feedOrders, number, news)
	}
}

// has says whether the event of a kind is that one.
func (f *feed) has(kind int, number uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.latest[kind].number == number
}

// statsNews returns what reads the balance.
func (s *Server) statsNews() func(context.Context) error {
	var before *Stats
	var at time.Time
	var number uint64
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, queryTimeout)
		defer cancel()
		now, err := s.o.Stats(ctx)
		number++
		if err != nil { // of the world: the page says that nothing is known
			before = nil
			return s.feed.tell(feedStats, number, statsNews{At: time.Now().UTC()})
		}
		news := statsNews{At: time.Now().UTC(), Stats: &now}
		if before != nil {
			news.Rates = ratesBetween(*before, now, time.Since(at))
		}
		before, at = &now, time.Now()
		return s.feed.tell(feedStats, number, news)
	}
}

// ratesBetween is by the second. A replay that takes over may count less of something than was counted before.
func ratesBetween(before, now Stats, taken time.Duration) *rates {
	rate := func(before, now int64) float64 { return float64(max(0, now-before)) / taken.Seconds() }
	return &rates{
		Received: rate(before.Received, now.Received), Orders: rate(before.Orders, now.Orders),
		Duplicates: rate(before.Duplicates, now.Duplicates), DeadLetters: rate(before.DeadLetters, now.DeadLetters),
	}
}
