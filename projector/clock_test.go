package projector

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/inbox"
	"orderbox/internal/testservers"
)

// The broker's clock and the database's are two, and either may jump by a day.
func TestNoClockSlowsAReplayDown(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := h.newProjector(t, 30)
	for i, c := range []struct {
		stamped, received string // as far as the database's now
		felt              bool
	}{
		{"-2 s", "0 s", true},
		{"-1 day", "0 s", false},
		{"1 day", "0 s", false},
		{"-1 day", "-1 day", false},
		{"1 day", "1 day 2 s", false}, // before the clock stepped back
	} {
		h.mustExec(t, `insert into inbox (source, channel, sequence, stamped_at, received_at, payload)
			values ($1, 'orders', $2, now() + $3::interval, now() + $4::interval, '')`, inbox.SourceSTAN, i, c.stamped, c.received)
		if lag := p.feel(t.Context(), newPace()).ingest; lag < 0 || (lag > 0) != c.felt {
			t.Errorf("stamped %s, received %s: a lag of %v is felt", c.stamped, c.received, lag)
		}
	}
}

// After the database's clock has stepped back, whoever was busy last is so in the future.
func TestAProjectorThatHangsIsFoundWhateverTheClockDoes(t *testing.T) {
	postgres := testservers.OwnPostgresWithClock(t)
	db := postgres.Database()
	pool := testservers.Open(t, db.ServiceURL, 4)
	ctx, may := context.Background(), silence{time.Hour, time.Hour}
	for _, jump := range []time.Duration{-24 * time.Hour, 24 * time.Hour, 0} {
		holder, err := lead(t.Context(), pool, "orderbox projector", projectorSilence, func() {})
		if err != nil {
			t.Fatal(err)
		}
		defer holder.Close(ctx)
		postgres.Jump(jump)
		if _, err := holder.Exec(t.Context(), `select 1`); err != nil {
			t.Fatal(err)
		}
		other := testservers.Open(t, db.ServiceURL, 1)
		end := func() {
			t.Helper()
			err := other.AcquireFunc(t.Context(), func(c *pgxpool.Conn) error {
				_, err := endSilent(t.Context(), c.Conn(), "orderbox projector", may, new(sending))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		end()
		if err := holder.Ping(t.Context()); err != nil {
			t.Fatalf("one that was busy since the clock jumped by %v was ended: %v", jump, err)
		}
		postgres.Jump(jump - 48*time.Hour)
		end()
		testservers.Eventually(t, "one that hangs is ended", func() bool { return holder.Ping(ctx) != nil })
	}
}
