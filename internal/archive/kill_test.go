package archive

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"orderbox/internal/testservers"
	"orderbox/sql"
)

// killAt makes the test binary archive or restore, and kill itself when it is told of progress for the n-th time.
const (
	killAt     = "ORDERBOX_TEST_KILL_AT"
	killURL    = "ORDERBOX_TEST_KILL_URL"
	killTarget = "ORDERBOX_TEST_KILL_TARGET" // a directory to archive to, or a file to restore
)

// beKilled is what the test binary does then. It ends the process.
func beKilled() {
	n, _ := strconv.Atoi(os.Getenv(killAt))
	kill := func(string, int64, int64) {
		if n--; n == 0 {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Kill()
			}
			panic(err) // unless it is dead
		}
	}
	if err := archiveOrRestore(context.Background(), os.Getenv(killURL), os.Getenv(killTarget), kill); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func archiveOrRestore(ctx context.Context, url, target string, progress Progress) error {
	conn, err := sql.ConnectOwner(ctx, url, databaseOf(url), "killed")
	if err != nil {
		return err
	}
	if info, err := os.Stat(target); err != nil {
		return err
	} else if !info.IsDir() {
		_, err = Restore(ctx, conn, target, progress)
		return err
	}
	months, err := Months(ctx, conn)
	if err != nil {
		return err
	}
	m, err := Find(months, "inbox_2025_03")
	if err == nil {
		_, err = Archive(ctx, conn, &m, target, progress)
	}
	return err
}

// mustSurvive archives or restores, killed at its first step, then at its second, and so on until it gets through, and
// returns how often it was killed.
func (h *house) mustSurvive(t *testing.T, target string, killed func(n int)) (n int) {
	t.Helper()
	for n = 1; ; n++ {
		const goneSQL = `select not exists (select from pg_stat_activity where application_name = 'killed' and datname = current_database())`
		testservers.Eventually(t, "the server has noticed", func() (gone bool) {
			err := h.admin.QueryRow(t.Context(), goneSQL).Scan(&gone)
			return err == nil && gone
		})
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), killAt+"="+strconv.Itoa(n), killURL+"="+h.AdminURL, killTarget+"="+target)
		out, err := cmd.CombinedOutput()
		if err == nil {
			return n - 1
		}
		if cmd.ProcessState.Exited() {
			t.Fatalf("at step %d it was not killed: %v\n%s", n, err, out)
		}
		killed(n)
	}
}

// At whatever step it is killed, the month is in the log or in its file, as a whole, and the same again gets through.
func TestNoKillAtAnyStepLosesAMessage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	log, fingerprint := h.mustLog(t), h.mustFingerprint(t)
	n := h.mustSurvive(t, h.dir, func(n int) {
		os.Remove(filepath.Join(h.dir, "inbox_2025_03"+Suffix)) // or there would be fewer steps from then on
		if r := h.mustAddUp(t); r.Detached != 0 || h.mustLog(t) != log {
			t.Errorf("killed at step %d: %+v", n, r.Balance)
		}
	})
	if n < 4 {
		t.Errorf("it was killed %d times: does this test still find its steps?", n)
	}
	archived := h.mustLog(t)
	if r := h.mustAddUp(t); r.Detached != perMonth {
		t.Errorf("archived: %+v", r.Balance)
	}
	left, err := filepath.Glob(filepath.Join(h.dir, "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("the directory holds %v, %v", left, err)
	}
	n = h.mustSurvive(t, left[0], func(n int) {
		if r := h.mustAddUp(t); r.Detached != perMonth || h.mustLog(t) != archived {
			t.Errorf("killed at step %d of restoring: %+v", n, r.Balance)
		}
	})
	if n < 3 {
		t.Errorf("it was killed %d times while it restored: does this test still find its steps?", n)
	}
	h.mustAddUp(t)
	if h.mustLog(t) != log || h.mustFingerprint(t) != fingerprint {
		t.Error("it is not what it was")
	}
}
