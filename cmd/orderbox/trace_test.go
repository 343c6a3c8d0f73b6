package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"orderbox/internal/testservers"
	"orderbox/publisher"
)

// collected is what a collector was told.
type collected struct {
	mu    sync.Mutex
	spans []*otlp.Span
}

func (c *collected) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	var err error
	if r.Header.Get("Content-Encoding") == "gzip" {
		body, err = gzip.NewReader(r.Body)
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(body)
	}
	var told collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(text, &told)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "not as OTLP has it", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range told.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// of returns the spans of each trace that has one with an attribute.
func (c *collected) of(name, value string) (traces [][]*otlp.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, span := range c.spans {
		if attribute(span, name) != value {
			continue
		}
		spans := slices.DeleteFunc(slices.Clone(c.spans), func(other *otlp.Span) bool { return !bytes.Equal(other.TraceId, span.TraceId) })
		slices.SortFunc(spans, func(a, b *otlp.Span) int { return int(a.StartTimeUnixNano) - int(b.StartTimeUnixNano) })
		traces = append(traces, spans)
	}
	return traces
}

func attribute(span *otlp.Span, name string) string {
	for _, a := range span.Attributes {
		if a.Key == name {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// Processes that have nothing in common but the tables tell of one trace.
func TestAMessageIsOneTraceFromTheBrokerToTheAnswer(t *testing.T) {
	t.Parallel()
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	told := new(collected)
	server := httptest.NewServer(told)
	t.Cleanup(server.Close)
	env := append(replicaEnv(db, broker, channel, channel), "OTEL_EXPORTER_OTLP_ENDPOINT="+server.URL, "OTEL_BSP_SCHEDULE_DELAY=50")
	var address string
	for _, stage := range []string{"ingest", "projector", "query"} {
		address = freeAddress(t)
		mustProgram(t, env, "serve", "--listen", address, "--stages", stage)
	}
	mustPublish(t, broker.URL, broker.Cluster, channel, 0, []byte("rubbish"))
	mustDecide(t, db, 1)
	testservers.Eventually(t, "the cache follows, and is not being filled any more", func() bool { return askReady(t.Context(), "http://"+address) == nil })
	mustPublish(t, broker.URL, broker.Cluster, channel, 0, publisher.Model)

	for verdict, want := range map[string][]string{"order": {"publish", "ingest", "project", "query"}, "malformed": {"publish", "ingest", "project"}} {
		var names []string
		var spans []*otlp.Span
		testservers.Eventually(t, "the trace of "+verdict+" is whole", func() bool {
			names = nil
			traces := told.of("orderbox.verdict", verdict)
			if len(traces) != 1 {
				return false
			}
			spans = traces[0]
			for _, span := range spans {
				names = append(names, span.Name)
			}
			return len(names) == len(want)
		})
		if !slices.Equal(names, want) {
			t.Errorf("%s: %q, want %q", verdict, names, want)
		}
		for i, span := range spans {
			if i == 0 && len(span.ParentSpanId) > 0 || i > 0 && !bytes.Equal(span.ParentSpanId, spans[0].SpanId) || i > 0 && len(span.Links) != 1 ||
				span.EndTimeUnixNano < span.StartTimeUnixNano {
				t.Errorf("%s: %v", verdict, span)
			}
		}
	}
}

// Nobody is told of anything, and nothing waits, unless there is a collector.
func TestACollectorThatIsAwayHoldsNothingUp(t *testing.T) {
	t.Parallel()
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	env := append(replicaEnv(db, broker, channel, channel), "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_BSP_SCHEDULE_DELAY=50")
	p := mustProgram(t, env, "serve", "--listen", freeAddress(t))
	payloads, _ := generated(17, 3000)
	mustPublish(t, broker.URL, broker.Cluster, channel, 0, payloads...)
	mustDecide(t, db, 3000)
	p.mustStop()
}
