package ingest

import (
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"orderbox/inbox"
	"orderbox/internal/retry"
)

// The broker's memory of what it has delivered is not trusted. It can have given messages to somebody else who
// joined our queue group, its durable can have been made anew or moved, the node of a cluster that leads next can hold
// for delivered what nobody got, and the database can have been restored
// from an older copy or failed over to one, without its last messages, which the broker rightly holds for
// acknowledged. So an auditor compares, while a session lasts, what the broker has with what the log has. What is
// lacking it has delivered again by a subscription of its own: plain, not durable, and in no group, so that it moves
// nothing. The deliveries go through the hand like all others; a message that was there after all is the same
// message.
//
// It never stands in the way of messages: it is a goroutine with a connection to the database of its own, and
// what it asks for is bounded in flight. Replicas audit by themselves, at times that differ; what two of them ask
// for at once comes twice and is kept once.
//
// Not here: counting what is missing for good, which is a matter of the log alone (package verify).
type auditor struct {
	box    *inbox.Inbox
	source string
	// settle is after how long a message that was delivered to anybody is in the log, or was delivered again.
	settle time.Duration
	// rest is how long the broker and an inbox that agree are left alone at least, but when there is doubt: the database was
	// away, and one without the end of the log may be in its place.
	rest    time.Duration
	doubt   chan struct{} // one pending
	hand    *hand
	log     *slog.Logger
	metrics *metrics

	channel string // of the session

	// What the session's durable subscription has delivered.
	deliveries atomic.Int64
	newest     atomic.Uint64 // the highest sequence

	// earliest is the lowest stamp that the session's deliveries had, of either kind.
	earliest atomic.Int64

	// Of the auditing goroutine:

	last uint64 // the broker's last sequence as it was known before
	next int64  // where the next audit goes on, after one that found more than it could ask for; 0 for the beginning
}

const (
	// maxAuditPause is how long the broker and an inbox that agree are left alone at most.
	maxAuditPause = 10 * time.Minute
	// maxSpans is how many holes one audit asks for.
	maxSpans = 1000
	// missingTimeout is for reading the index of a log of many millions.
	missingTimeout = time.Minute
)

// begin is called before a session subscribes to a channel.
func (a *auditor) begin(channel string) {
	if channel != a.channel {
		if a.channel != "" {
			a.log.Warn("the stream was lost or deleted, and is another one by the same name now: what it had and the log has not is gone",
				"channel", channel, "before", a.channel)
		}
		a.channel, a.last, a.next = channel, 0, 0
	}
	a.deliveries.Store(0)
	a.newest.Store(0)
	a.earliest.Store(math.MaxInt64)
}

// saw takes note of a delivery to the durable subscription. One goroutine calls it.
func (a *auditor) saw(id identity) {
	a.deliveries.Add(1)
	a.newest.Store(max(a.newest.Load(), id.sequence))
	a.stamped(id.stamp)
}

func (a *auditor) stamped(at int64) {
	for {
		earliest := a.earliest.Load()
		if at >= earliest || a.earliest.CompareAndSwap(earliest, at) {
			return
		}
	}
}

// run audits until ctx ends, which it must when the session is lost. The pauses grow while there is nothing to do.
func (a *auditor) run(ctx context.Context, s session) {
	pause := time.Duration(0)
	for {
		recovered, err := a.audit(ctx, s)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			a.log.Warn("audit failed, trying again later", "error", err)
		}
		if pause = min(max(2*pause, a.rest), maxAuditPause); recovered > 0 || a.next > 0 {
			pause = 0
		}
		select {
		case <-a.doubt:
			pause = 0
		case <-time.After(pause + rand.N(a.settle)):
		case <-ctx.Done():
			return
		}
	}
}

// audit compares once, and returns how many messages were delivered again.
func (a *auditor) audit(ctx context.Context, s session) (recovered int64, err error) {
	deliveries, newest := a.deliveries.Load(), a.newest.Load()
	before, err := a.lastBefore(ctx)
	if err != nil {
		return 0, err
	}
	first, last, err := s.extent(ctx)
	if err != nil || first.sequence == 0 || last.sequence == 0 {
		return 0, err
	}
	if last.sequence < before {
		a.log.Warn("the broker counts less than before: its store was lost or replaced",
			"channel", a.channel, "last_sequence", last.sequence, "before", before)
	}
	a.last = last.sequence
	if err := a.measure(ctx, last); err != nil {
		return 0, err
	}
	if err := retry.Wait(ctx, a.settle); err != nil {
		return 0, err
	}
	// The group is served in order: what is below the newest delivery has been delivered, and has settled by now.
	// What is above is on its way, unless nothing comes at all.
	to := newest
	if a.deliveries.Load() == deliveries {
		to = last.sequence
	}
	// Stamps keep the broker's count apart from one of before, when it had another store. If its clock has
	// stepped back since, too much is asked for, once: what comes tells how far.
	a.stamped(first.stamp)
	since := a.earliest.Load() / int64(time.Microsecond) * int64(time.Microsecond) // as the log keeps it
	querying, cancel := context.WithTimeout(ctx, missingTimeout)
	defer cancel()
	from := int64(first.sequence)
	detached, at, err := a.box.Detached(querying, a.source, a.channel)
	if err != nil {
		return 0, err
	}
	if first.stamp/int64(time.Microsecond) <= at.UnixMicro() { // the broker still has some of those, or had when it counted the same
		from = max(from, detached+1)
	}
	// Holes of what the broker does not have either are found each time, and must not hide those behind them.
	spans, err := a.box.Missing(querying, a.source, a.channel, max(from, a.next), int64(to),
		time.Unix(0, since).UTC(), maxSpans)
	if err != nil {
		return 0, err
	}
	if len(spans) == 0 {
		a.next = 0
		return 0, nil
	}
	if recovered, err = a.fetch(ctx, s, spans, since); err != nil {
		return recovered, err
	}
	if a.next = 0; len(spans) == maxSpans {
		a.next = spans[maxSpans-1].To + 1
	}
	a.log.Warn("the log lacked messages and the broker was asked for them again", "channel", a.channel, "gaps", len(spans),
		"from_sequence", spans[0].From, "to_sequence", spans[len(spans)-1].To, "delivered", recovered)
	return recovered, nil
}

// measure says how far the log is behind what was the broker's last message.
func (a *auditor) measure(ctx context.Context, last identity) error {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	reached, stamp, err := a.box.Last(ctx, a.source, a.channel)
	if err != nil {
		return err
	}
	behind := int64(last.sequence) - reached
	if stamp.UnixMicro() >= last.stamp/int64(time.Microsecond) { // or of the count of another store, which went further
		behind = 0
	}
	a.metrics.behind.Set(float64(max(0, behind)))
	return nil
}

// lastBefore returns the broker's last sequence as it is known: from the audit before, or from the log. It is to be
// asked before the broker is, for the log may go on.
func (a *auditor) lastBefore(ctx context.Context) (uint64, error) {
	if a.last > 0 {
		return a.last, nil
	}
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	sequence, _, err := a.box.Last(ctx, a.source, a.channel)
	return uint64(sequence), err
}

// fetch has spans delivered again, as far as the broker has them, and returns how many of the messages were not in the log.
func (a *auditor) fetch(ctx context.Context, s session, spans []inbox.Span, since int64) (recovered int64, err error) {
	defer func() { a.metrics.recovered.Add(float64(recovered)) }()
	for _, span := range spans {
		var came atomic.Int64
		err := s.fetch(ctx, span, func(id identity) {
			a.stamped(id.stamp)
			if id.stamp >= since {
				came.Add(1)
			}
		})
		recovered += came.Load()
		if err != nil {
			return recovered, err
		}
	}
	return recovered, nil
}

// resume has delivered what of a range of sequences the log lacks, all of it and in order.
func (a *auditor) resume(ctx context.Context, s session, from, to uint64) error {
	for from <= to {
		querying, cancel := context.WithTimeout(ctx, missingTimeout)
		spans, err := a.box.Missing(querying, a.source, a.channel, int64(from), int64(to), time.Time{}, maxSpans)
		cancel()
		if err != nil || len(spans) == 0 {
			return err
		}
		if _, err := a.fetch(ctx, s, spans, 0); err != nil {
			return err
		}
		from = uint64(spans[len(spans)-1].To) + 1
	}
	return nil
}
