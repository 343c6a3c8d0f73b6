package retry_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"orderbox/internal/retry"
)

func TestForeverTriesUntilItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		calls := 0
		started := time.Now()
		retry.Forever(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), "knock", func(context.Context, func()) error {
			if calls++; calls < 200 {
				return errors.New("nobody home")
			}
			return nil
		})
		if calls != 200 {
			t.Errorf("%d calls, want 200", calls)
		}
		if waited := time.Since(started); waited < 10*time.Minute || waited > 25*time.Minute {
			t.Errorf("waited %v for 199 failures: the pauses should grow to about 5 s and no further", waited)
		}
		warnings := strings.Count(log.String(), "failed, trying again")
		if warnings < 10 || warnings > 60 {
			t.Errorf("%d warnings for 199 failures, want one every 30 s or so", warnings)
		}
		if !strings.Contains(log.String(), "recovered") {
			t.Error("the recovery is not logged")
		}
	})
}

func TestForeverStartsSmallAgainAfterItWorked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		var last, pause time.Duration
		started := time.Now()
		retry.Forever(t.Context(), slog.New(slog.DiscardHandler), "knock", func(_ context.Context, works func()) error {
			pause = time.Since(started) - last
			last = time.Since(started)
			if calls++; calls == 51 {
				return nil
			}
			if calls == 50 {
				works()
			}
			return errors.New("gone again")
		})
		if pause > time.Second {
			t.Errorf("the pause after it had worked was %v, want a small one", pause)
		}
	})
}

func TestForeverEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		retry.Forever(ctx, slog.New(slog.DiscardHandler), "knock", func(context.Context, func()) error {
			return errors.New("nobody home")
		})
	})
}
