package projector

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	verdicts   *prometheus.CounterVec
	checkpoint prometheus.Gauge
	leads      atomic.Bool // this process is the one that projects
	batchSize  prometheus.Histogram
	commitTime prometheus.Histogram
	delay      prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orderbox_projector_verdicts_total",
			Help: "Messages projected, by verdict: order, duplicate, or the reason of the dead letter."}, []string{"verdict"}),
		checkpoint: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "orderbox_projector_checkpoint", Help: "The inbox position up to which this process has projected."}),
		batchSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "orderbox_projector_batch_messages", Help: "Messages that shared a transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 8)}),
		commitTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "orderbox_projector_commit_seconds", Help: "How long a batch took to be written and committed.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16)}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "orderbox_projector_delay_seconds", Help: "From when a batch's first message came into the log to its verdict, by two clocks.",
			Buckets: prometheus.ExponentialBuckets(0.001, 3, 14)}),
	}
	leading := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderbox_projector_leading", Help: "1 while this process is the one that projects."}, func() float64 {
		if m.leads.Load() {
			return 1
		}
		return 0
	})
	if r != nil {
		r.MustRegister(m.verdicts, m.checkpoint, leading, m.batchSize, m.commitTime, m.delay)
	}
	return m
}

func (m *metrics) projected(f fates, first, started time.Time) {
	m.verdicts.WithLabelValues("order").Add(float64(len(f.orders)))
	m.verdicts.WithLabelValues("duplicate").Add(float64(len(f.duplicates)))
	for _, j := range f.dead {
		m.verdicts.WithLabelValues(string(j.dead.reason)).Inc()
	}
	m.batchSize.Observe(float64(len(f.orders) + len(f.duplicates) + len(f.dead)))
	m.commitTime.Observe(time.Since(started).Seconds())
	m.delay.Observe(max(0, time.Since(first).Seconds()))
}
