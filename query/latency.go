package query

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// latencyWindow is how long one window collects. Two whole ones and the one that is being filled count,
	// so what is known is of the last 2 to 3 seconds.
	latencyWindow = time.Second
	// latencyBuckets reaches from 1 ns to 17 s, by steps of at most an eighth; what is longer is in the last.
	latencyBuckets = 256
)

// LookupP99 returns the time in which 99 of 100 lookups (GET /api/v1/orders/{order_uid}) were answered
// over about the last three seconds, whatever the answer was; 0 when there were none. It is never less than
// the truth and at most an eighth more; anything beyond 17 s counts as 17 s. It may be called concurrently
// and costs about a microsecond.
func (s *Server) LookupP99() time.Duration { return s.metrics.lookups.p99(time.Now()) }

// latencies counts durations over the last seconds. Adding takes no lock, no clock and no memory; any
// number may add and ask at once. Where two windows meet, a few may be lost.
type latencies struct {
	origin  time.Time
	windows [3]latencyCounts
}

type latencyCounts struct {
	number  atomic.Int64 // of the window since the origin
	buckets [latencyBuckets]atomic.Uint32
}

func newLatencies(origin time.Time) *latencies { return &latencies{origin: origin} }

func (l *latencies) number(at time.Time) int64 { return int64(at.Sub(l.origin) / latencyWindow) }

// add counts something that took that long and ended at the time given.
func (l *latencies) add(end time.Time, took time.Duration) {
	number := l.number(end)
	w := &l.windows[uint64(number)%uint64(len(l.windows))]
	if old := w.number.Load(); old < number && w.number.CompareAndSwap(old, number) {
		for i := range w.buckets {
			w.buckets[i].Store(0)
		}
	}
	w.buckets[latencyBucket(took)].Add(1)
}

func (l *latencies) p99(now time.Time) time.Duration {
	number := l.number(now)
	var counts [latencyBuckets]uint64
	var total uint64
	for i := range l.windows {
		w := &l.windows[i]
		if number-w.number.Load() >= int64(len(l.windows)) {
			continue // nothing was added since
		}
		for b := range w.buckets {
			n := uint64(w.buckets[b].Load())
			counts[b] += n
			total += n
		}
	}
	above := total / 100 // so many may have taken longer
	for b := latencyBuckets - 1; b >= 0; b-- {
		if counts[b] > above {
			return latencyBound(b)
		}
		above -= counts[b]
	}
	return 0
}

// latencyBucket and latencyBound are each other's inverse. The first sixteen buckets hold a nanosecond
// each; from there on eight share every doubling.
func latencyBucket(took time.Duration) int {
	ns := uint64(max(took, 0))
	shift := max(bits.Len64(ns)-4, 0)
	return min(shift*8+int(ns>>shift), latencyBuckets-1)
}

// latencyBound is the longest duration that a bucket holds.
func latencyBound(bucket int) time.Duration {
	shift := max(bucket/8-1, 0)
	return time.Duration(bucket-shift*8+1)<<shift - 1
}
