package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

type readiness struct {
	Ready  bool                   `json:"ready"`
	Checks map[string]cacheHealth `json:"checks"`
}

func TestAliveNeedsNothing(t *testing.T) {
	t.Parallel()
	body(t, http.StatusOK, get(t, idle(t, Options{}), "/healthz"))
}

func TestReadyOnceTheCacheHasCaughtUp(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustProject(t, mustModel(t, "a"))
	p.mustProject(t, mustModel(t, "b"))
	s := newServer(t, p, Options{})
	before := mustDecode[readiness](t, http.StatusServiceUnavailable, get(t, s, "/readyz"))
	cache := before.Checks["cache"]
	if before.Ready || !before.Checks["database"].OK || cache.OK || cache.CaughtUp || cache.Lag == nil || *cache.Lag != 2 {
		t.Errorf("before it is filled: %+v", before)
	}
	mustRun(t, s)
	after := mustDecode[readiness](t, http.StatusOK, get(t, s, "/readyz"))
	cache = after.Checks["cache"]
	if !after.Ready || !cache.OK || !cache.CaughtUp || cache.Orders != 2 || *cache.Lag != 0 {
		t.Errorf("after: %+v", after)
	}
}

func TestReplicaThatFellBehindIsNotReady(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newServer(t, p, Options{})
	mustReadAll(t, s) // and then nobody follows
	p.mustTx(t, "g1", func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `update checkpoint set position = 1234`)
		return err
	})
	busy := mustDecode[readiness](t, http.StatusOK, get(t, s, "/readyz"))
	if *busy.Checks["cache"].Lag != 1234 {
		t.Errorf("a moment later: %+v", busy)
	}
	long := time.Now().Add(-2 * maxBehind)
	s.follower.fitAt.Store(&long)
	behind := mustDecode[readiness](t, http.StatusServiceUnavailable, get(t, s, "/readyz"))
	if *behind.Checks["cache"].Lag != 1234 || behind.Checks["cache"].Detail == "" {
		t.Errorf("long after: %+v", behind)
	}
}

func TestReadinessNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := newRunning(t, newProjection(t), Options{Checks: map[string]func(context.Context) error{
		"broker": func(context.Context) error { return errors.New("no session") },
		"disk":   func(context.Context) error { return nil },
	}})
	got := mustDecode[readiness](t, http.StatusServiceUnavailable, get(t, s, "/readyz"))
	if got.Ready || got.Checks["broker"].OK || got.Checks["broker"].Detail != "no session" || !got.Checks["disk"].OK || !got.Checks["cache"].OK {
		t.Errorf("%+v", got)
	}
}

// Reading a large one takes minutes, and every replica does it at once: while it is built, and after the switch.
func TestReplicaStaysReadyWhileItReadsTheNextGeneration(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newServer(t, p, Options{})
	s.follower.chunk = 1
	mustReadAll(t, s)
	p.mustCreateGeneration(t, "g2", stateBuilding)
	mustInsertMany(t, p, "g2", 1, 3)
	expect := func(next int, lag int64) {
		t.Helper()
		long := time.Now().Add(-2 * maxBehind)
		s.follower.fitAt.Store(&long)
		if !mustRead(t, s) || s.cache().generation.name != "g1" {
			t.Fatal("the next generation was read at once")
		}
		if got := mustDecode[readiness](t, http.StatusOK, get(t, s, "/readyz")); *got.Checks["cache"].Lag != lag {
			t.Errorf("%+v", got)
		}
		metrics := string(body(t, http.StatusOK, get(t, s, "/metrics")))
		if line := fmt.Sprintf("\norderbox_cache_next_orders %d\n", next); !strings.Contains(metrics, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	expect(1, 0)
	p.mustSwitch(t, "g2")
	expect(2, 3*3+1)
}
