package query

import (
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestP99IsTheTruthWithinAnEighth(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 99, 100, 101, 1000, 12345} {
		origin := time.Now()
		l := newLatencies(origin)
		took := make([]time.Duration, n)
		for i := range took {
			took[i] = time.Duration(math.Exp(rand.Float64() * 23)) // from 1 ns to 10 s
			l.add(origin, took[i])
		}
		slices.Sort(took)
		want := took[n-1-n/100]
		if got := l.p99(origin); got < want || got > want+want/8 {
			t.Errorf("of %d the 99th percentile is %v, want %v", n, got, want)
		}
	}
}

func TestP99ForgetsAfterThreeWindows(t *testing.T) {
	t.Parallel()
	origin := time.Now()
	l := newLatencies(origin)
	at := func(quarters float64) time.Time {
		return origin.Add(time.Duration(quarters * float64(latencyWindow/4)))
	}
	expect := func(quarters float64, want time.Duration) {
		t.Helper()
		if got := l.p99(at(quarters)); got < want || got > want+want/8 {
			t.Errorf("after %v quarters of a window: %v, want %v", quarters, got, want)
		}
	}
	expect(0, 0)
	l.add(at(1), time.Second)
	expect(1, time.Second)
	expect(9, time.Second)
	l.add(at(10), time.Millisecond)
	expect(11.9, time.Second)
	expect(13, time.Millisecond)
	l.add(at(13), time.Microsecond) // where the first one was counted
	expect(13, time.Millisecond)
	expect(23, time.Microsecond)
	expect(25, 0)
	l.add(at(100_000), time.Minute) // what is too long for any bucket is in the last
	if got := l.p99(at(100_000)); got < 17*time.Second {
		t.Errorf("a minute counts as %v", got)
	}
	l.add(at(99_995), time.Hour) // a window that was just begun again is not begun once more by a late one
	if got := l.p99(at(100_000)); got == 0 {
		t.Error("the last lookups are forgotten")
	}
}

func TestLatencyBucketsHaveNoGaps(t *testing.T) {
	t.Parallel()
	for b := range latencyBuckets - 1 {
		if bound := latencyBound(b); latencyBucket(bound) != b || latencyBucket(bound+1) != b+1 {
			t.Fatalf("bucket %d ends at %d ns", b, bound)
		}
	}
}

// Run with -race.
func TestLatenciesAreAddedAndAskedForAtOnce(t *testing.T) {
	t.Parallel()
	origin := time.Now()
	l := newLatencies(origin)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for i := range 10_000 {
				now := origin.Add(time.Duration(i) * time.Millisecond)
				l.add(now, time.Microsecond)
				if i%100 == 0 {
					if p := l.p99(now); p > 2*time.Microsecond {
						t.Errorf("the 99th percentile is %v", p)
					}
				}
			}
		})
	}
	group.Wait()
}

func TestLookupsAloneCountForTheirP99(t *testing.T) {
	t.Parallel()
	s := filled(t)
	get(t, s, "/")
	get(t, s, "/healthz")
	if p := s.LookupP99(); p != 0 {
		t.Errorf("%v without a lookup", p)
	}
	body(t, http.StatusNotFound, get(t, s, "/api/v1/orders/a"))
	if p := s.LookupP99(); p <= 0 || p > 10*time.Second {
		t.Errorf("%v after one", p)
	}
}

func TestTheLookupsRouteIsThere(t *testing.T) {
	t.Parallel()
	if !slices.ContainsFunc(idle(t, Options{}).routes(), func(rt route) bool { return rt.path == lookupPath }) {
		t.Errorf("no route is %s", lookupPath)
	}
}

// What it adds to a lookup: a subtraction, a division and one atomic addition, on a line of memory that the
// cores share.
func BenchmarkAddLatency(b *testing.B) {
	origin := time.Now()
	l := newLatencies(origin)
	b.ReportAllocs()
	for b.Loop() {
		l.add(origin, 12*time.Microsecond)
	}
	if l.p99(origin) == 0 {
		b.Fatal("nothing was added")
	}
}

func BenchmarkLookupP99(b *testing.B) {
	origin := time.Now()
	l := newLatencies(origin)
	l.add(origin, time.Millisecond)
	for b.Loop() {
		if l.p99(origin) == 0 {
			b.Fatal("nothing was added")
		}
	}
}
