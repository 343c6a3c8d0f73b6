package faults_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"orderbox/internal/faults"
	"orderbox/internal/testservers"
)

func TestMain(m *testing.M) { testservers.Main(m) }

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

func TestADatabaseIsNotWiped(t *testing.T) {
	w := new(faults.World)
	if _, err := w.Strike(t.Context(), faults.Fault{Target: faults.Database, Kind: faults.Wipe}); !errors.Is(err, faults.ErrLoss) {
		t.Errorf("wiping the database: %v", err)
	}
}
