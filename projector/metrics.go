package projector

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	verdicts   *prometheus.CounterVec
	checkpoint prometheus.Gauge
	leading    prometheus.Gauge
	batchSize  prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orderbox_projector_verdicts_total",
			Help: "Messages projected, by verdict: order, duplicate, or the reason of the dead letter."}, []string{"verdict"}),
		checkpoint: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "orderbox_projector_checkpoint", Help: "The inbox position up to which this process has projected."}),
		leading: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "orderbox_projector_leading", Help: "1 while this process is the one that projects."}),
		batchSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "orderbox_projector_batch_messages", Help: "Messages that shared a transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 8)}),
	}
	if r != nil {
		r.MustRegister(m.verdicts, m.checkpoint, m.leading, m.batchSize)
	}
	return m
}

func (m *metrics) projected(f fates) {
	m.verdicts.WithLabelValues("order").Add(float64(len(f.orders)))
	m.verdicts.WithLabelValues("duplicate").Add(float64(len(f.duplicates)))
	for _, j := range f.dead {
		m.verdicts.WithLabelValues(string(j.dead.reason)).Inc()
	}
	m.batchSize.Observe(float64(len(f.orders) + len(f.duplicates) + len(f.dead)))
}
