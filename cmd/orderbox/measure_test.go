package main

import (
	"bufio"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"orderbox/internal/testservers"
	"orderbox/publisher"
)

const (
	dashboard = "../../docs/grafana/dashboard.json"
	alerts    = "../../docs/prometheus/alerts.yaml"
)

// Names are what Prometheus's users expect, and what the dashboard and the alerts ask for is there.
func TestWhatIsMeasuredIsWellNamedAndWhatIsWatchedIsMeasured(t *testing.T) {
	t.Parallel()
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	_, address := mustServe(t, db, broker, channel)
	mustPublish(t, broker.URL, broker.Cluster, channel, 0, publisher.Model, []byte("rubbish"))
	mustDecide(t, db, 2)
	testservers.Eventually(t, "the order is answered", func() bool { return mustMeasure(t, "http://"+address, "orderbox_cache_orders") == 1 })
	get(t, "http://"+address+"/api/v1/orders/"+modelUID, "")
	_, text := get(t, "http://"+address+"/metrics", "")

	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	measured := map[string]bool{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, _, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "# TYPE "), " ")
		name, _, _ = strings.Cut(name, "{")
		measured[name] = true
	}
	watched := map[string]bool{}
	for _, file := range []string{dashboard, alerts} {
		names := regexp.MustCompile(`\b(orderbox|process|go)_[a-z_]+`).FindAllString(mustRead(t, file), -1)
		if len(names) < 10 {
			t.Errorf("%s names %d metrics: does this test still find them?", file, len(names))
		}
		for _, name := range names {
			if watched[name] = true; !measured[name] {
				t.Errorf("%s asks for %s, which is not measured", file, name)
			}
		}
	}
	// What is measured and watched by nobody is noise.
	for _, name := range slices.Sorted(maps.Keys(measured)) {
		family := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if strings.HasPrefix(name, "orderbox_") && !watched[family] && !watched[family+"_bucket"] && !watched[family+"_count"] && !watched[family+"_sum"] {
			t.Errorf("%s is on no dashboard", name)
		}
	}
}

func TestEveryAlertHasItsRunbook(t *testing.T) {
	t.Parallel()
	names := regexp.MustCompile(`(?m)^ +- alert: (\S+)$`).FindAllStringSubmatch(mustRead(t, alerts), -1)
	runbook := mustRead(t, "../../docs/OPERATING.md")
	written := regexp.MustCompile(`(?m)^\*\*(Orderbox[A-Z]\w+)\*\*`).FindAllStringSubmatch(runbook, -1)
	if len(names) < 5 || len(names) != len(written) {
		t.Errorf("%d alerts and %d paragraphs about alerts", len(names), len(written))
	}
	for _, name := range names {
		if !strings.Contains(runbook, "\n**"+name[1]+"**") {
			t.Errorf("docs/OPERATING.md does not say what to do about %s", name[1])
		}
	}
}

func TestTheDashboardIsOne(t *testing.T) {
	t.Parallel()
	var d struct {
		UID    string
		Panels []struct {
			ID      int
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(mustRead(t, dashboard)), &d); err != nil || d.UID != "orderbox" {
		t.Fatalf("%q, %v", d.UID, err)
	}
	ids := map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d, %s, is there twice or shows nothing", p.ID, p.Title)
		}
		ids[p.ID] = true
	}
}

func mustRead(tb testing.TB, file string) string {
	tb.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// mustMeasure returns a metric of the process at a URL, by its name and labels as they are written.
func mustMeasure(tb testing.TB, url, name string) float64 {
	tb.Helper()
	_, metrics := get(tb, url+"/metrics", "")
	for line := range strings.Lines(metrics) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				tb.Fatal(err)
			}
			return f
		}
	}
	tb.Fatalf("no metric %s", name)
	return 0
}

func TestAProcessThatOnlyMeasuresTakesNoPortFromOneThatAnswers(t *testing.T) {
	for _, c := range []struct {
		listen string
		stages []string
		want   string
	}{
		{"", []string{"ingest", "projector", "query"}, "127.0.0.1:8080"},
		{"", []string{"query"}, "127.0.0.1:8080"},
		{"", []string{"ingest"}, "127.0.0.1:0"},
		{"", []string{"ingest", "projector"}, "127.0.0.1:0"},
		{"0.0.0.0:9000", []string{"projector"}, "0.0.0.0:9000"},
	} {
		if got := (&serveCommand{Listen: c.listen, Stages: c.stages}).address(); got != c.want {
			t.Errorf("--listen %q --stages %v: %s, want %s", c.listen, c.stages, got, c.want)
		}
	}
}
