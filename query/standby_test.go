package query

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/testservers"
)

// newStandby returns a projection, its server, a standby of that, and a superuser's pool of the standby.
func newStandby(t *testing.T) (p *projection, primary, standby *testservers.OwnedPostgres, admin *pgxpool.Pool) {
	t.Helper()
	primary = testservers.OwnPostgres(t)
	db := primary.Database()
	standby = primary.Standby()
	p = &projection{DB: db, pool: testservers.Open(t, db.ServiceURL, 4)}
	p.mustCreateGeneration(t, "g1", stateBuilding)
	p.mustSwitch(t, "g1")
	return p, primary, standby, testservers.Open(t, standby.DB().AdminURL, 1)
}

// newReplica returns a stage that reads from a standby and is not running yet.
func newReplica(t *testing.T, p *projection, standby *testservers.OwnedPostgres, o Options) *Server {
	t.Helper()
	o.Primary = testservers.Open(t, p.ServiceURL, 4)
	s, err := New(testservers.Open(t, standby.DB().ServiceURL, 4), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOrdersAreReadFromAStandby(t *testing.T) {
	t.Parallel()
	p, primary, standby, admin := newStandby(t)
	p.mustProject(t, mustModel(t, "a"))
	s := newReplica(t, p, standby, Options{})
	mustRun(t, s)
	sees := func(uid string) {
		t.Helper()
		testservers.Eventually(t, "order "+uid+" is seen", func() bool { _, ok := s.cache().get(uid); return ok })
	}
	sees("a")
	if got := s.Role(); got != "answering from a standby" {
		t.Error(got)
	}
	p.mustProject(t, mustModel(t, "b"))
	p.mustNotify(t)
	sees("b")

	// What the standby does not show yet is not served, and counts as lag.
	if _, err := admin.Exec(t.Context(), `select pg_wal_replay_pause()`); err != nil {
		t.Fatal(err)
	}
	p.mustProject(t, mustModel(t, "c"))
	p.mustNotify(t)
	lags := func(want int64) {
		t.Helper()
		testservers.Eventually(t, "the lag is told", func() bool {
			ready := mustDecode[readiness](t, http.StatusOK, get(t, s, "/readyz"))
			lag := ready.Checks["cache"].Lag
			return lag != nil && *lag == want
		})
	}
	lags(1)
	if text := string(body(t, http.StatusOK, get(t, s, "/metrics"))); !strings.Contains(text, "\norderbox_cache_lag_messages 1\n") {
		t.Error("the metrics do not tell of the standby's lag")
	}
	long := time.Now().Add(-2 * maxBehind)
	s.follower.fitAt.Store(&long)
	behind := mustDecode[readiness](t, http.StatusServiceUnavailable, get(t, s, "/readyz"))
	if behind.Checks["cache"].Detail == "" || !behind.Checks["database"].OK {
		t.Errorf("long after: %+v", behind)
	}
	if _, err := admin.Exec(t.Context(), `select pg_wal_replay_resume()`); err != nil {
		t.Fatal(err)
	}
	sees("c")
	lags(0)

	// Without the primary nobody knows how far the standby is behind, and lookups go on.
	primary.Crash()
	testservers.Eventually(t, "the primary is missed", func() bool {
		ready := mustDecode[readiness](t, http.StatusOK, get(t, s, "/readyz"))
		return ready.Ready && ready.Checks["cache"].Lag == nil && ready.Checks["cache"].Detail != ""
	})
	body(t, http.StatusOK, get(t, s, "/api/v1/orders/c"))
	if _, err := admin.Exec(t.Context(), `select pg_promote()`); err != nil {
		t.Fatal(err)
	}
	testservers.Eventually(t, "the promotion is noticed", func() bool { return s.Role() == "answering from the primary" })
	body(t, http.StatusOK, get(t, s, "/api/v1/orders/c"))
}

// Whoever reads from a standby what the primary has dropped is in the way of the standby, and is cut short.
func TestWhatAStandbyTakesBackIsTriedAgain(t *testing.T) {
	t.Parallel()
	p, _, standby, admin := newStandby(t)
	for _, impatient := range []string{`alter system set max_standby_streaming_delay = 0`, `select pg_reload_conf()`} {
		if _, err := admin.Exec(t.Context(), impatient); err != nil {
			t.Fatal(err)
		}
	}
	p.mustProject(t, mustModel(t, "a"))
	s := newReplica(t, p, standby, Options{})
	mustRun(t, s)
	err := inGeneration(t.Context(), s.pool, func(tx pgx.Tx, g generation) error {
		if _, err := tx.Exec(t.Context(), `select from orders`); err != nil {
			return err
		}
		p.mustCreateGeneration(t, "g2", stateBuilding)
		p.mustSwitch(t, "g2")
		p.mustDrop(t, "previous") // g1, which is being read
		p.mustProject(t, mustModel(t, "b"))
		for {
			if _, err := tx.Exec(t.Context(), `select pg_sleep(0.01)`); err != nil {
				return err
			}
		}
	})
	if got := asProblem(err).Status; got != http.StatusServiceUnavailable {
		t.Errorf("cut short by %v, a request is answered with %d", err, got)
	}
	testservers.Eventually(t, "following goes on", func() bool { _, ok := s.cache().get("b"); return ok })
}

// Its orders are nobody's here.
func TestNothingIsReadFromAnotherDatabaseThanThePrimarys(t *testing.T) {
	t.Parallel()
	p, other := newProjection(t), newProjection(t)
	p.mustProject(t, mustModel(t, "a"))
	other.mustProject(t, mustModel(t, "foreign"))
	s, err := New(testservers.Open(t, other.ServiceURL, 4), Options{Primary: testservers.Open(t, p.ServiceURL, 4)})
	if err != nil {
		t.Fatal(err)
	}
	mustBegin(t, s)
	testservers.Eventually(t, "it is told", func() bool {
		ready := mustDecode[readiness](t, http.StatusServiceUnavailable, get(t, s, "/readyz"))
		return strings.Contains(ready.Checks["cache"].Detail, "another database")
	})
	body(t, http.StatusServiceUnavailable, get(t, s, "/api/v1/orders/foreign"))
	if orders, _ := s.cache().size(); orders != 0 {
		t.Errorf("%d orders were read", orders)
	}
}
