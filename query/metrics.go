package query

import (
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.HistogramVec
	lookups  *latencies
}

// newMetrics registers what this stage measures.
func newMetrics(registry *prometheus.Registry, f *follower, o *fetcher) (*metrics, error) {
	start := time.Now()
	m := &metrics{lookups: newLatencies(start), requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "orderbox_http_request_duration_seconds",
		Help:    "Time to answer a request, by the route's pattern and the status code (499: the client went away); without streams of events, which last.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .1, .5, 2.5, 10},
	}, []string{"route", "code"})}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "orderbox", Subsystem: "cache", Name: name, Help: help}, value)
	}
	fetches := func(outcome string, n *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name:        "orderbox_cache_fetches_total",
			Help:        "Requests for orders not in memory: kept from a fetch before, found in the database, absent there, or failed.",
			ConstLabels: prometheus.Labels{"outcome": outcome},
		}, func() float64 { return float64(n.Load()) })
	}
	var problems []error
	for _, c := range []prometheus.Collector{
		m.requests,
		gauge("orders", "Orders in the cache that answers.", func() float64 {
			orders, _ := f.serving.Load().size()
			return float64(orders)
		}),
		gauge("left_out_orders", "Orders that the cache which answers leaves to the database.", func() float64 {
			return float64(f.serving.Load().leftOut())
		}),
		gauge("bytes", "Memory set aside for the orders in the cache that answers.", func() float64 {
			_, bytes := f.serving.Load().size()
			return float64(bytes)
		}),
		gauge("position", "Position of the log up to which the cache has read the projection.", func() float64 {
			return float64(f.serving.Load().position.Load())
		}),
		gauge("lag_messages", "Messages that were projected and not yet read by the cache, when it last looked.", func() float64 {
			return float64(f.lag(f.newest()))
		}),
		gauge("lag_seconds", "How long ago the cache that answers last had all that was projected; since the start, when it never had.", func() float64 {
			if at := f.fitAt.Load(); at != nil {
				return time.Since(*at).Seconds()
			}
			return time.Since(start).Seconds()
		}),
		gauge("next_orders", "Orders read so far of the generation that is to be served next; 0 when there is none.", func() float64 {
			next := f.next.Load()
			if next == nil {
				return 0
			}
			orders, _ := next.size()
			return float64(orders)
		}),
		gauge("fetched_bytes", "Memory that orders take which were fetched from the database and may be asked for again.", func() float64 {
			if c := f.serving.Load(); c.fetched != nil {
				return float64(c.fetched.WeightedSize())
			}
			return 0
		}),
		gauge("fetches_waiting", "Requests for orders not in memory that wait for the database.", func() float64 {
			return float64(o.waiting.Load())
		}),
		fetches("kept", &o.kept), fetches("found", &o.found), fetches("absent", &o.absent), fetches("failed", &o.failed),
	} {
		problems = append(problems, registry.Register(c))
	}
	return m, errors.Join(problems...)
}

// route returns what measures the answers of one route, called with the time at which it began. The usual
// answer's series is found beforehand: looking one up by its labels costs as much as finding an order.
func (m *metrics) route(pattern string) func(status int, start time.Time) {
	usual := m.requests.WithLabelValues(pattern, "200")
	isLookup, isStream := pattern == lookupPath, pattern == eventsPath
	return func(status int, start time.Time) {
		if isStream && status == http.StatusOK {
			return // how long somebody stayed is no time to answer
		}
		took := time.Since(start)
		series := usual
		if status != http.StatusOK && status != 0 { // a handler that writes nothing answers 200
			series = m.requests.WithLabelValues(pattern, strconv.Itoa(status))
		}
		series.Observe(took.Seconds())
		if isLookup {
			m.lookups.add(start.Add(took), took)
		}
	}
}
