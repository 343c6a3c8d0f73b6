package ingest

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderbox/inbox"
)

// maxSuspects bounds what is remembered of a very holey channel; what is left out is still found by
// orderbox verify, which looks at the whole log.
const maxSuspects = 1024

// gapTimeout is how long a question about gaps may keep messages waiting.
const gapTimeout = 2 * time.Second

// gaps notices sequences that never came: a broker drops its oldest messages, read or not, when its
// limits are reached. A hole is only a suspicion at first, for its messages may be with another replica
// or on their way again; when it has settled the inbox is asked. Used by the committing goroutine alone.
type gaps struct {
	box     *inbox.Inbox
	channel string
	settle  time.Duration
	log     *slog.Logger
	counter prometheus.Counter

	sequence uint64 // of the newest message that was seen, before this process began included
	stamp    int64  // its stamp in microseconds, as the inbox keeps it
	suspects []span // by due time
}

// span is the sequences from..to, stamped since..until (microseconds).
type span struct {
	from, to     uint64
	since, until int64
	due          time.Time
}

// start takes up where the inbox left off, so that a hole that opened meanwhile is noticed. Where the
// database cannot say in time, the first message that comes makes a suspicion of all before it: nothing
// about gaps may stand in the way of messages.
func (s *gaps) start(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, gapTimeout)
	defer cancel()
	sequence, stamp, err := s.box.Last(ctx, inbox.SourceSTAN, s.channel)
	if err == nil && sequence > 0 {
		s.sequence, s.stamp = uint64(sequence), stamp.UnixMicro()
	}
}

// saw takes note of a committed batch.
func (s *gaps) saw(batch []*delivery) {
	for _, d := range batch {
		stamp := d.stamp / int64(time.Microsecond)
		switch {
		case d.sequence > s.sequence && stamp >= s.stamp:
			s.suspect(s.sequence+1, d.sequence-1, stamp)
			s.sequence, s.stamp = d.sequence, stamp
		case d.sequence <= s.sequence && stamp > s.stamp:
			s.log.Warn("the broker counts anew: its store was lost or replaced",
				"channel", s.channel, "sequence", d.sequence, "last_sequence", s.sequence)
			s.suspect(1, d.sequence-1, stamp)
			s.sequence, s.stamp = d.sequence, stamp
		}
	}
}

// suspect remembers a hole, if it is one, before a message that was stamped until.
func (s *gaps) suspect(from, to uint64, until int64) {
	if from > to || len(s.suspects) >= maxSuspects {
		return
	}
	s.suspects = append(s.suspects, span{from, to, s.stamp, until, time.Now().Add(s.settle)})
}

// due receives when the oldest suspicion has settled; never, when there is none.
func (s *gaps) due() <-chan time.Time {
	if len(s.suspects) == 0 {
		return nil
	}
	return time.After(time.Until(s.suspects[0].due))
}

// settleDue asks the inbox about the oldest suspicion. When the database cannot say, it asks again later.
func (s *gaps) settleDue(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, gapTimeout)
	defer cancel()
	hole := s.suspects[0]
	s.suspects = s.suspects[1:]
	there, err := s.box.Count(ctx, inbox.SourceSTAN, s.channel, int64(hole.from), int64(hole.to),
		time.UnixMicro(hole.since).UTC(), time.UnixMicro(hole.until).UTC())
	if err != nil {
		hole.due = time.Now().Add(s.settle)
		s.suspects = append(s.suspects, hole)
		return
	}
	missing := hole.to - hole.from + 1 - uint64(there)
	if missing == 0 {
		return
	}
	s.counter.Add(float64(missing))
	s.log.Warn("messages never came: the broker dropped them or lost them", "channel", s.channel,
		"from_sequence", hole.from, "to_sequence", hole.to, "missing", missing)
}
