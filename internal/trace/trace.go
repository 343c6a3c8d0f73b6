// Package trace tells an OpenTelemetry collector of the way of each message: one trace from the broker to the answer.
//
// In: what the stages did, after they did it. Out: spans over OTLP, when the environment names a collector.
//
//	publish   from the broker's stamp until it was received
//	ingest      received until committed
//	project     in the log until it has a verdict
//	query       read until it is answered
//
// STAN carries no headers, and the log keeps payloads as they came, so no context travels with a message. None has to:
// the trace and its first span are named by a digest of the message's identity, which every stage in every process
// finds in the log. For the same reason all of them sample the same messages. Each step that many messages took together
// is a trace of its own, to which the messages' spans are linked.
//
// Concurrency: any goroutine may call a Tracer's methods, which never wait. One goroutine of its own asks the database
// who the messages were; what comes faster than it can ask is left out, as is what the collector does not take.
//
// Not here: deciding what a step is (the stages). Without a collector a Tracer is nil, and its methods do nothing.
package trace

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

// Tracer reports to a collector; a nil one to nobody. Make it with Open.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	log      *slog.Logger

	jobs  chan func(context.Context) // what needs the database
	stop  context.CancelFunc
	ended sync.WaitGroup
}

// maxJobs are the batches that may wait to be told of.
const maxJobs = 16

// Open returns a tracer by the standard environment (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER and so on); nil when that
// names no collector. It connects to nothing yet.
func Open(ctx context.Context, log *slog.Logger) (*Tracer, error) {
	if !isWanted() {
		return nil, nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		if protocol := os.Getenv(name); protocol != "" && protocol != "http/protobuf" {
			return nil, fmt.Errorf("%s is %q, and only http/protobuf is spoken here", name, protocol)
		}
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "orderbox")), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("trace: %w", err), exporter.Shutdown(ctx))
	}
	sometimes := rate.Sometimes{First: 1, Interval: time.Minute}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		sometimes.Do(func() { log.Warn("traces are not taken", "error", err) })
	}))
	t := &Tracer{log: log, jobs: make(chan func(context.Context), maxJobs),
		provider: sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about), sdk.WithIDGenerator(identities{}))}
	t.tracer = t.provider.Tracer("orderbox")
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	t.stop = stop
	t.ended.Go(func() {
		for {
			select {
			case <-working.Done():
				return
			case job := <-t.jobs:
				job(working)
			}
		}
	})
	return t, nil
}

func isWanted() bool {
	if disabled, _ := strconv.ParseBool(os.Getenv("OTEL_SDK_DISABLED")); disabled || strings.EqualFold(os.Getenv("OTEL_TRACES_EXPORTER"), "none") {
		return false
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// closeTimeout is for a collector that is slow; what it has not taken by then is lost.
const closeTimeout = time.Second

// Close sends what is left. Nothing may be told afterwards.
func (t *Tracer) Close() {
	if t == nil {
		return
	}
	t.stop()
	t.ended.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("the last traces are lost", "error", err)
	}
}

// message is one as the world delivered it.
type message struct {
	source, channel string
	sequence        int64
	stampedAt       time.Time
}

// Delivery is a message as it was received.
type Delivery struct {
	Source, Channel       string
	Sequence              int64
	StampedAt, ReceivedAt time.Time
}

// Ingested tells of deliveries that were committed together, from began until now.
func (t *Tracer) Ingested(began time.Time, deliveries []Delivery) {
	if t == nil {
		return
	}
	now := time.Now()
	link := t.batch("ingest batch", began, now, len(deliveries))
	for _, d := range deliveries {
		m := message{d.Source, d.Channel, d.Sequence, d.StampedAt}
		ctx, first := t.begin(m)
		if !first.IsRecording() {
			continue
		}
		first.End(trace.WithTimestamp(latest(d.StampedAt, d.ReceivedAt)))
		t.step(ctx, "ingest", trace.SpanKindConsumer, d.ReceivedAt, now, link)
	}
}

// batch tells of a step that messages took together, and returns what links theirs to it.
func (t *Tracer) batch(name string, from, to time.Time, messages int) trace.Link {
	_, span := t.tracer.Start(context.Background(), name, trace.WithNewRoot(), trace.WithTimestamp(from),
		trace.WithAttributes(attribute.Int("messaging.batch.message_count", messages)))
	span.End(trace.WithTimestamp(to))
	return trace.Link{SpanContext: span.SpanContext()}
}

// begin makes a message's first span, which ingest alone ends: to the other steps it is what theirs belong to, and whether
// they are sampled.
func (t *Tracer) begin(m message) (context.Context, trace.Span) {
	return t.tracer.Start(context.WithValue(context.Background(), messageKey{}, m), "publish", trace.WithNewRoot(),
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(m.stampedAt),
		trace.WithAttributes(attribute.String("messaging.system", m.source), attribute.String("messaging.destination.name", m.channel),
			attribute.Int64("orderbox.sequence", m.sequence)))
}

func (t *Tracer) step(ctx context.Context, name string, kind trace.SpanKind, from, to time.Time, link trace.Link, about ...attribute.KeyValue) {
	_, span := t.tracer.Start(context.WithValue(ctx, messageKey{}, nil), name, trace.WithSpanKind(kind), trace.WithTimestamp(from), trace.WithLinks(link),
		trace.WithAttributes(about...))
	span.End(trace.WithTimestamp(latest(from, to)))
}

// latest keeps a span from ending before it began, when two clocks differ.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// messageKey is for the message whose first span is begun.
type messageKey struct{}

// identities names the first span of a message, and its trace, by what the message is.
type identities struct{}

// NewIDs is for spans that begin a trace.
func (identities) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	m, ok := ctx.Value(messageKey{}).(message)
	if !ok {
		var id trace.TraceID
		rand.Read(id[:])
		return id, newSpanID()
	}
	// The log keeps the stamp to the microsecond.
	digest := sha256.Sum256(fmt.Appendf(nil, "orderbox message\x00%s\x00%s\x00%d\x00%d", m.source, m.channel, m.sequence, m.stampedAt.UnixMicro()))
	return trace.TraceID(digest[:16]), trace.SpanID(digest[16:24])
}

// NewSpanID is for those that go on with one.
func (identities) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return newSpanID() }

func newSpanID() (id trace.SpanID) {
	rand.Read(id[:]) // never fails
	return id
}
