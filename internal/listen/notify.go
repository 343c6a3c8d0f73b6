package listen

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/time/rate"
)

// A notification need not outlive a crash, so its commit does not wait for the disk.
const notifySQL = `
select set_config('synchronous_commit', 'off', true), pg_notify($1, '')`

const notifyTimeout = time.Second

// Notifier tells those who listen on a channel that something was committed. Make it with NewNotifier; any goroutine may
// use it.
type Notifier struct {
	pool    *pgxpool.Pool
	channel string
	log     *slog.Logger
	failed  rate.Sometimes // says so
}

// NewNotifier returns a notifier for one channel of pool's database.
func NewNotifier(pool *pgxpool.Pool, channel string, log *slog.Logger) *Notifier {
	return &Notifier{pool: pool, channel: channel, log: log, failed: rate.Sometimes{First: 1, Interval: time.Minute}}
}

// Notify wakes the listeners, or gives up after a second and warns, once a minute. It is to be called after the commit and
// has no part in it: PostgreSQL refuses notifications when their queue is full, as it gets when somebody listens and never
// ends a transaction, and writing must go on all the same. Readers then find what is new when they poll.
func (n *Notifier) Notify(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	if _, err := n.pool.Exec(ctx, notifySQL, n.channel); err != nil {
		n.failed.Do(func() {
			n.log.Warn("readers cannot be notified, they find what is new when they poll", "channel", n.channel, "error", err)
		})
	}
}
