package inbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/inbox"
	"orderbox/internal/testservers"
)

// mustWaitFor has every commit wait for a standby of that name.
func mustWaitFor(t *testing.T, admin *pgxpool.Pool, standby string) {
	t.Helper()
	for _, statement := range []string{`alter system set synchronous_standby_names = '` + standby + `'`, `select pg_reload_conf()`} {
		if _, err := admin.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	// A session may show the setting before commits obey it: that takes the checkpointer, which hears of it by itself.
	testservers.Eventually(t, "the setting is in force", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := admin.Exec(ctx, `select pg_logical_emit_message(true, 'is it in force?', '')`)
		return (err != nil) == (standby != "")
	})
}

// A commit that waits for a standby and is broken off has been made all the same, on the primary alone. The same message
// appended once more must not be taken for safe because it is there.
func TestWhatNoStandbyHasIsNotConfirmed(t *testing.T) {
	t.Parallel()
	server := testservers.OwnPostgres(t)
	db := server.Database()
	admin := testservers.Open(t, db.AdminURL, 1)
	box := inbox.New(testservers.Open(t, db.ServiceURL, 2), nil)
	mustAppend(t, box, message(1, "a"))
	mustWaitFor(t, admin, "nobody")
	copied := message(3, "c")
	copied.Source, copied.CopyOf = inbox.SourceJetStream, &inbox.Identity{Source: inbox.SourceSTAN, Channel: copied.Channel, Sequence: 1, StampedAt: copied.StampedAt}
	for _, m := range []inbox.Message{message(2, "b"), copied} {
		for attempt := range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := box.Append(ctx, []inbox.Message{m}); err == nil {
				t.Errorf("attempt %d: %s %d is confirmed, and no standby has it", attempt, m.Source, m.Sequence)
			}
			cancel()
		}
	}
	testservers.Eventually(t, "it was committed all the same", func() bool {
		entries, err := box.Read(t.Context(), 0, 10, 1<<20)
		return err == nil && len(entries) == 3
	})
	mustWaitFor(t, admin, "")
	for _, m := range []inbox.Message{message(2, "b"), copied} {
		if stored, err := box.Append(t.Context(), []inbox.Message{m}); stored != 0 || err != nil {
			t.Errorf("without a standby to wait for: %d stored, %v", stored, err)
		}
	}
}
