// Package listen wakes a reader of a table when something may have been added to it: who adds notifies (Notifier), who
// reads listens (Run).
//
// In: PostgreSQL's notifications on one channel. Out: a value in a channel of capacity one.
//
// A notification is a hint and polling is the truth: whoever is woken reads the table, and is woken now
// and then in any case, so that a lost notification costs a poll's time and never a row. The connection
// listens first and wakes then, so nothing falls between reading and listening.
//
// Concurrency: one goroutine, the caller's, with one connection of the pool.
//
// Not here: reading what there is.
package listen

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/retry"
)

// pingTimeout bounds how long a connection that a silent network has cut can pass for a living one.
const pingTimeout = 5 * time.Second

// Run puts a value into wake, of capacity one, after every notification on channel and at least every poll
// interval, until ctx ends. One that is pending is as good as ten. It outlives the database: while that is
// away, wake gets values all the same.
func Run(ctx context.Context, pool *pgxpool.Pool, channel string, poll time.Duration, log *slog.Logger, wake chan<- struct{}) {
	retry.Forever(ctx, log, "listen", func(ctx context.Context, works func()) error {
		send(wake)
		connecting, cancel := context.WithTimeout(ctx, pingTimeout)
		defer cancel()
		pooled, err := pool.Acquire(connecting)
		if err != nil {
			return err
		}
		// A connection that listens must not go back among those that do not.
		conn := pooled.Hijack()
		defer conn.Close(context.WithoutCancel(ctx))
		if _, err := conn.Exec(connecting, "listen "+pgx.Identifier{channel}.Sanitize()); err != nil {
			return err
		}
		works()
		for {
			send(wake)
			if err := wait(ctx, conn, poll); err != nil {
				return err
			}
		}
	})
}

func send(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// wait returns nil after a notification, or when poll has passed and the connection still answers.
func wait(ctx context.Context, conn *pgx.Conn, poll time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, poll)
	defer cancel()
	_, err := conn.WaitForNotification(waiting)
	if err == nil || !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return err
	}
	ping, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return conn.Ping(ping)
}
