//go:build linux

package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/internal/testservers"
	"orderbox/publisher"
)

// hardship is what a database may go through without going away.
type hardship struct {
	name string
	code string // SQLSTATE that the service then gets
	// unready says that /readyz must say so. Where reading works, the service is fit to answer.
	unready bool
	// begin brings it about for whoever is connected or connects, and returns what ends it for those who connect
	// from then on: what a connection has by then it keeps.
	begin func(t *testing.T, admin *pgx.Conn) (end func())
	// during, if any, is done when messages wait.
	during func(t *testing.T, admin *pgx.Conn)
}

// mustExec executes statements as the superuser.
func mustExec(t *testing.T, admin *pgx.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := admin.Exec(context.WithoutCancel(t.Context()), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

const terminateAll = `select pg_terminate_backend(pid) from pg_stat_activity where usename = 'orderbox'`

// inRole is a setting of the service's role for a while.
func inRole(set, reset string) func(*testing.T, *pgx.Conn) func() {
	return func(t *testing.T, admin *pgx.Conn) func() {
		mustExec(t, admin, `alter role orderbox `+set, terminateAll)
		return func() { mustExec(t, admin, `alter role orderbox `+reset) }
	}
}

func hardships(disk string) []hardship {
	return []hardship{
		{"read-only", "25006", false, inRole(`set default_transaction_read_only = on`, `reset default_transaction_read_only`), nil},
		{"no statement has the time", "57014", false, inRole(`set statement_timeout = '1ms'`, `reset statement_timeout`), nil},
		{"no connection is left", "53300", true, inRole(`connection limit 0`, `connection limit -1`), nil},
		{"somebody holds the log", "55P03", false, func(t *testing.T, admin *pgx.Conn) func() {
			mustExec(t, admin, `alter role orderbox set lock_timeout = '50ms'`, terminateAll, `begin`, `lock table inbox in share mode`)
			return func() { mustExec(t, admin, `rollback`, `alter role orderbox reset lock_timeout`) }
		}, nil},
		{"deadlock", "40P01", false, deadlock, closeDeadlock},
		{"connections are ended again and again", "57P01", false, func(t *testing.T, admin *pgx.Conn) func() {
			for range 20 {
				testservers.Eventually(t, "there is a connection to end", func() bool {
					tag, err := admin.Exec(t.Context(), terminateAll)
					return err == nil && tag.RowsAffected() > 0
				})
			}
			return func() {}
		}, nil},
		{"no lock is left", "53200", false, func(t *testing.T, admin *pgx.Conn) func() {
			mustExec(t, admin, `do $$ begin for i in 1..1000000 loop perform pg_advisory_lock(i); end loop;
				exception when out_of_memory then null; end $$`)
			return func() { mustExec(t, admin, `select pg_advisory_unlock_all()`) }
		}, nil},
		{"the disk is full", "53100", false, func(t *testing.T, _ *pgx.Conn) func() {
			ballast := filepath.Join(disk, "ballast")
			fillDisk(t, ballast)
			return func() {
				if err := os.Remove(ballast); err != nil {
					t.Error(err)
				}
			}
		}, nil},
	}
}

// deadlock holds the lock that appenders take last.
func deadlock(t *testing.T, admin *pgx.Conn) func() {
	mustExec(t, admin, `alter role orderbox set deadlock_timeout = '3s'`, terminateAll, `set deadlock_timeout = '1min'`,
		`begin`, `select pg_advisory_xact_lock(hashtext('orderbox inbox'))`)
	return func() {
		mustExec(t, admin, `rollback`, `reset deadlock_timeout`, `alter role orderbox reset deadlock_timeout`)
	}
}

// closeDeadlock asks for what an append has that waits for the other lock. Only one that began to wait just now
// will still look whether it waits in a circle.
func closeDeadlock(t *testing.T, admin *pgx.Conn) {
	mustExec(t, admin, terminateAll)
	const waitsSQL = `
		select exists (
			select from pg_locks as l join pg_stat_activity as a on a.pid = l.pid
			where l.locktype = 'advisory' and not l.granted and clock_timestamp() - a.query_start < interval '1 s')`
	testservers.Eventually(t, "an append begins to wait", func() bool {
		var waits bool
		// pg_stat_activity is the same for the length of a transaction otherwise.
		if _, err := admin.Exec(t.Context(), `select pg_stat_clear_snapshot()`); err != nil {
			return false
		}
		return admin.QueryRow(t.Context(), waitsSQL).Scan(&waits) == nil && waits
	})
	mustExec(t, admin, `lock table inbox in share mode`)
}

func fillDisk(t *testing.T, ballast string) {
	t.Helper()
	file, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size >= 1<<10; {
		if _, err := file.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// Law 5: whatever the database goes through, messages wait for it, no verdict comes of it, and lookups go on.
func TestHardshipsOfTheDatabaseAreWaitedOut(t *testing.T) {
	t.Parallel()
	postgres := testservers.OwnPostgres(t, "log_line_prefix=%e ", "max_connections=40", "max_locks_per_transaction=10")
	broker, channel := testservers.Broker(t), testservers.Channel(t)
	disk := postgres.SmallDisk(48 << 20)
	db := postgres.Database()
	onSmallDisk(t, db, disk)
	admin := mustConnect(t, db.AdminURL)
	_, address := mustServe(t, db, broker, channel)
	mustPublish(t, broker.URL, broker.Cluster, channel, 0, publisher.Model)
	order := "http://" + address + "/api/v1/orders/" + modelUID
	testservers.Eventually(t, "the order appears", func() bool { code, _ := get(t, order, ""); return code == http.StatusOK })

	messages, dead := int64(1), int64(0)
	for i, h := range hardships(disk) {
		t.Run(h.name, func(t *testing.T) {
			before := len(postgres.Log())
			end := h.begin(t, admin)
			var payloads [][]byte
			for m := range publisher.Messages(uint64(50+i), 300, 0.1) {
				payloads = append(payloads, m.Payload)
				if m.Verdict != publisher.VerdictOrder && m.Verdict != publisher.VerdictDuplicate {
					dead++
				}
			}
			mustPublish(t, broker.URL, broker.Cluster, channel, 0, payloads...)
			messages += int64(len(payloads))
			if h.during != nil {
				h.during(t, admin)
			}
			testservers.Eventually(t, "the service gets "+h.code, func() bool { return strings.Contains(postgres.Log()[before:], "\n"+h.code+" ") })
			if code, body := get(t, order, ""); code != http.StatusOK || body != servedModel(t) {
				t.Errorf("a lookup meanwhile: %d %s", code, body)
			}
			if h.unready {
				testservers.Eventually(t, "it says that it is not ready", func() bool { return askReady(t.Context(), "http://"+address) != nil })
			}
			end()
			report := mustDecide(t, db, messages)
			if report.Received != messages || report.DeadLetters != dead {
				t.Errorf("received %d, dead letters %d; want %d, %d", report.Received, report.DeadLetters, messages, dead)
			}
			testservers.Eventually(t, "it is ready", func() bool { return askReady(t.Context(), "http://"+address) == nil })
		})
	}
}

func mustConnect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn.Close(ctx)
	})
	return conn
}

// onSmallDisk moves the database to a disk.
func onSmallDisk(t *testing.T, db testservers.DB, disk string) {
	t.Helper()
	admin := mustConnect(t, strings.Replace(db.AdminURL, "/orderbox?", "/postgres?", 1))
	mustExec(t, admin, `create tablespace small location '`+disk+`'`, `alter database orderbox set tablespace small`)
}
