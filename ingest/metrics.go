package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	received    prometheus.Counter
	redelivered prometheus.Counter
	dropped     prometheus.Counter
	stored      prometheus.Counter
	recovered   prometheus.Counter
	connected   prometheus.Gauge
	batchSize   prometheus.Histogram
	commitTime  prometheus.Histogram
	delay       prometheus.Histogram
	behind      prometheus.Gauge
}

// newMetrics registers them with the source as a label, for two may feed one log from one process.
func newMetrics(source string, r prometheus.Registerer, h *hand) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "orderbox_ingest_" + name, Help: help})
	}
	m := &metrics{
		received:    counter("received_total", "Deliveries from the broker, redeliveries included."),
		redelivered: counter("redelivered_total", "Deliveries that the broker marked as repeated."),
		dropped:     counter("dropped_total", "Deliveries that did not fit the hand; the broker delivers them again."),
		stored:      counter("stored_total", "Messages that were new to the inbox."),
		recovered:   counter("recovered_total", "Messages that the log lacked and the broker delivered when it was asked again."),
		connected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "orderbox_ingest_connected", Help: "1 while there is a session with the broker."}),
		batchSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "orderbox_ingest_batch_messages", Help: "Messages that shared a commit.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 8)}),
		commitTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "orderbox_ingest_commit_seconds", Help: "How long a batch took to be committed.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16)}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "orderbox_ingest_delay_seconds", Help: "From the broker's stamp of a batch's first message to its commit, by two clocks.",
			Buckets: prometheus.ExponentialBuckets(0.001, 3, 14)}),
		behind: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "orderbox_ingest_lag_messages", Help: "Messages of the broker's that the log had not reached at the last comparison, every 1 to 10 minutes."}),
	}
	waiting := func(name, help string, of func(messages, bytes int) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "orderbox_ingest_waiting_" + name, Help: help},
			func() float64 { return float64(of(h.size())) })
	}
	if r != nil {
		prometheus.WrapRegistererWith(prometheus.Labels{"source": source}, r).MustRegister(m.received, m.redelivered, m.dropped, m.stored, m.recovered, m.connected, m.batchSize, m.commitTime, m.delay, m.behind,
			waiting("messages", "Messages received and not yet committed.", func(messages, _ int) int { return messages }),
			waiting("bytes", "Bytes of messages received and not yet committed.", func(_, bytes int) int { return bytes }))
	}
	return m
}

func (m *metrics) committed(stored, messages int, first, started time.Time) {
	m.stored.Add(float64(stored))
	m.batchSize.Observe(float64(messages))
	m.commitTime.Observe(time.Since(started).Seconds())
	m.delay.Observe(max(0, time.Since(first).Seconds()))
}
