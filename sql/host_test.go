package sql_test

import (
	"context"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/testservers"
	"orderbox/sql"
)

// mustBeSilent returns the address of a host that takes connections and never says a word.
func mustBeSilent(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

// hosts returns a database's URL with several hosts.
func hosts(t *testing.T, address, attrs string, hosts ...string) string {
	t.Helper()
	u := with(t, address, "target_session_attrs", attrs)
	if attrs == "" {
		u = with(t, address)
	}
	u.Host = ""
	for i, host := range hosts {
		if i > 0 {
			u.Host += ","
		}
		u.Host += host
	}
	return u.String()
}

func mustHost(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// isStandby says what a pool leads to. An attempt takes five seconds; pgx by itself would give the silent host minutes.
func isStandby(t *testing.T, pool *pgxpool.Pool) (standby bool, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = pool.QueryRow(ctx, `select pg_is_in_recovery()`).Scan(&standby)
	return standby, err
}

func TestOfSeveralHostsTheRightOneIsFound(t *testing.T) {
	t.Parallel()
	primary := testservers.OwnPostgres(t)
	db := primary.Database()
	standby := primary.Standby()
	one, other, silent := mustHost(t, db.AdminURL), mustHost(t, standby.DB().AdminURL), mustBeSilent(t)
	leadsTo := func(attrs string, wantStandby bool) *pgxpool.Pool {
		t.Helper()
		pool := testservers.Open(t, hosts(t, db.ServiceURL, attrs, silent, other, one, "nowhere.invalid:5432"), 1)
		if got, err := isStandby(t, pool); got != wantStandby || err != nil {
			t.Errorf("%q leads to a standby: %t, %v", attrs, got, err)
		}
		return pool
	}
	writes := leadsTo("", false)
	leadsTo("read-write", false)
	leadsTo("any", true) // the first that answers
	reads := leadsTo("prefer-standby", true)
	if _, err := sql.Migrate(t.Context(), sql.MigrateOptions{AdminURL: hosts(t, db.AdminURL, "", other, one), Database: "orderbox"}); err != nil {
		t.Errorf("migrate: %v", err)
	}

	standby.Stop()
	reads.Reset()
	if got, err := isStandby(t, reads); got || err != nil {
		t.Errorf("without a standby: %t, %v", got, err)
	}
	standby.Start()
	primary.Crash()
	if _, err := testservers.Open(t, standby.DB().AdminURL, 1).Exec(t.Context(), `select pg_promote()`); err != nil {
		t.Fatal(err)
	}
	testservers.Eventually(t, "the new primary is found", func() bool {
		writes.Reset()
		standby, err := isStandby(t, writes)
		return !standby && err == nil
	})
}
