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
}

func newMetrics(r prometheus.Registerer) *metrics {
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
	}
	if r != nil {
		r.MustRegister(m.received, m.redelivered, m.dropped, m.stored, m.recovered, m.connected, m.batchSize, m.commitTime)
	}
	return m
}

func (m *metrics) committed(stored, messages int, took time.Duration) {
	m.stored.Add(float64(stored))
	m.batchSize.Observe(float64(messages))
	m.commitTime.Observe(took.Seconds())
}
