package chaos

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderbox/internal/faults"
)

// Publishers move from STAN to JetStream, one after the other, while the service receives from both and a relay copies: nothing is
// lost and nothing doubled, whoever is struck, and at the end STAN can be switched off.
func TestCutOver(t *testing.T) {
	r := playAndJudge(t, faults.Options{Brokers: 1, Streams: nodes}, relaying(), 3_000, len(relaying()))
	if t.Failed() {
		return
	}
	if stan, stream := r.epochs[0], r.epochs[1]; stan.last == 0 || stream.copies != stan.last || stream.last <= stream.copies {
		t.Errorf("STAN has %d messages; the stream %d, of which %d are copies", stan.last, stream.last, stream.copies)
	}
	from, to := r.load.to, r.load.then
	out, err := r.world.Orderbox(t.Context(), "cutover", "--report", "--until-quiet", "1s", "--nats-url", from.URL, "--stan-cluster", from.Cluster,
		"--channel", from.Channel, "--stream-url", to.URL, "--stream", to.Stream)
	if err != nil || !strings.Contains(out, "STAN can be switched off") {
		t.Errorf("the report: %v\n%s", err, out)
	}
	t.Log(out)
}

// move returns when the relay has copied what STAN has at the moment. Who waited for that may go on in the stream.
func (c *conductor) move(ctx context.Context) error {
	last, err := askChannel(ctx, c.load.to)
	if err != nil {
		return err
	}
	return c.awaitCopies(ctx, last)
}

// awaitCopies waits until the stream has so many. They are in STAN's order, so they are the first.
func (c *conductor) awaitCopies(ctx context.Context, count int64) error {
	return c.progress(ctx, "the relay copies what STAN has", func() (int64, bool) {
		store, err := askStream(ctx, c.load.then)
		return store.copies, err == nil && store.copies >= count
	})
}

const countBothSQL = `
select (select count(*) from inbox) + (select count(*) from copies)`

// settleStream waits until everything is copied, and the log knows it, and enters what the stream has.
func (r *run) settleStream(ctx context.Context, stan int64) error {
	if err := r.awaitCopies(ctx, stan); err != nil {
		return err
	}
	store, err := askStream(ctx, r.load.then)
	if err != nil {
		return err
	}
	r.epochs = append(r.epochs, store)
	return r.progress(ctx, "the log has what both brokers stored", func() (n int64, done bool) {
		err := r.pool.QueryRow(ctx, countBothSQL).Scan(&n)
		return n, err == nil && n >= stan+store.last
	})
}

const copiesSQL = `
select c.position, c.source, c.channel, c.sequence, c.stamped_at, i.position, i.source
from copies as c
join inbox as i on i.position = c.original
order by c.position`

// judgeCopies gives the checker what the log had already when it came.
func judgeCopies(ctx context.Context, tx pgx.Tx, c *checker) error {
	rows, err := tx.Query(ctx, copiesSQL)
	if err != nil {
		return err
	}
	var e, original entry
	_, err = pgx.ForEachRow(rows, []any{&e.position, &e.source, &e.channel, &e.sequence, &e.stamp, &original.position, &original.source}, func() error {
		c.seeCopy(e, original)
		return nil
	})
	return err
}
