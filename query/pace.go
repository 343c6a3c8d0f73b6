package query

import (
	"sync"
	"time"

	"orderbox/static"
)

// pace is how fast something goes through the log.
type pace struct {
	Rate        float64 `json:"rate,omitempty"`         // messages a second; 0 when it is not known yet
	SecondsLeft float64 `json:"seconds_left,omitempty"` // at this rate
}

// newPace is the pace of what has taken some time from the beginning of the log to a position.
func newPace(position, head int64, taken time.Duration) pace {
	return paceBetween(0, position, head, taken)
}

func paceBetween(from, position, head int64, taken time.Duration) pace {
	if position <= from || taken <= 0 {
		return pace{}
	}
	rate := float64(position-from) / taken.Seconds()
	return pace{rate, float64(max(0, head-position)) / rate}
}

// text is the pace for a person; nil when it is not known.
func (p pace) text() *static.Text {
	if p.Rate == 0 {
		return nil
	}
	left := time.Duration(p.SecondsLeft * float64(time.Second)).Round(time.Second)
	return static.Say("%s messages a second, about %s left", int64(p.Rate), left.String())
}

// paceWindow is how far back the rate of a replay looks: it slows down and gets faster.
const paceWindow = 10 * time.Second

// pacer measures the replay from what is asked about it. It began who knows when and where, perhaps in another
// process.
type pacer struct {
	mu             sync.Mutex
	generation     string
	earlier, later sample
}

type sample struct {
	at       time.Time
	position int64
}

// see takes note of how far a generation is, and returns the pace since one to two windows ago, or since it was
// first seen.
func (p *pacer) see(generation string, position, head int64, now time.Time) pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	latest := sample{now, position}
	if generation != p.generation || position < p.earlier.position {
		p.generation, p.earlier, p.later = generation, latest, latest
	}
	if now.Sub(p.later.at) > paceWindow {
		p.earlier, p.later = p.later, latest
	}
	return paceBetween(p.earlier.position, position, head, now.Sub(p.earlier.at))
}
