package faults_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"orderbox/internal/faults"
	"orderbox/internal/testservers"
	"orderbox/publisher"
)

func TestMain(m *testing.M) { testservers.Main(m) }

func mustPublish(tb testing.TB, w *faults.World, payloads ...[]byte) {
	tb.Helper()
	p, err := publisher.New(publisher.Options{URL: w.BrokerURL, Cluster: w.Cluster, Channel: w.Channel})
	if err != nil {
		tb.Fatal(err)
	}
	result, err := p.Publish(tb.Context(), func(yield func([]byte, error) bool) {
		for _, payload := range payloads {
			if !yield(payload, nil) {
				return
			}
		}
	})
	if err != nil || result.Confirmed != int64(len(payloads)) {
		tb.Fatalf("published %+v, %v", result, err)
	}
}

func mustStrike(tb testing.TB, w *faults.World, f faults.Fault) (heal func()) {
	tb.Helper()
	undo, err := w.Strike(tb.Context(), f)
	if err != nil {
		tb.Fatal(err)
	}
	return func() {
		tb.Helper()
		if err := undo(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
}

func mustLife(tb testing.TB, w *faults.World) string {
	tb.Helper()
	life, err := w.Life(tb.Context(), 0)
	if err != nil {
		tb.Fatal(err)
	}
	return life
}

// status is a service's answer, 0 for none within two seconds: one that is paused leaves connections open.
func status(url string) int {
	answer, err := (&http.Client{Timeout: 2 * time.Second}).Get(url)
	if err != nil {
		return 0
	}
	answer.Body.Close()
	return answer.StatusCode
}

// Each fault does what its name says and is healed: the service notices, and is ready again by itself.
func TestTheWorldBreaksAndHeals(t *testing.T) {
	w := faults.NewWorld(t, faults.Options{})
	ready := func() bool { return status(w.ServiceURLs()[0]+"/readyz") == http.StatusOK }
	testservers.Eventually(t, "the service is ready", ready)
	mustPublish(t, w, publisher.Model)

	for _, target := range faults.Targets {
		for _, kind := range faults.Kinds {
			f := faults.Fault{Target: target, Kind: kind}
			t.Run(f.String(), func(t *testing.T) {
				if target == faults.Database && kind == faults.Wipe {
					if _, err := w.Strike(t.Context(), f); err != faults.ErrLoss {
						t.Fatalf("wiping the database: %v", err)
					}
					return
				}
				before := mustLife(t, w)
				heal := mustStrike(t, w, f)
				if lasts := kind == faults.Kill || kind == faults.Pause || kind == faults.Cut; lasts {
					testservers.Eventually(t, "the service notices", func() bool { return !ready() })
				}
				heal()
				testservers.Eventually(t, "the service is ready again", ready)
				replaced := target == faults.Service && kind != faults.Pause && kind != faults.Cut
				if after := mustLife(t, w); replaced != (after != before) {
					t.Errorf("the service was %s and is %s", before, after)
				}
			})
		}
	}
	if out, err := w.Orderbox(t.Context(), "verify", "--json"); err != nil || !strings.Contains(out, `"received": 1,`) {
		t.Errorf("verify: %v\n%s", err, out)
	}
}
