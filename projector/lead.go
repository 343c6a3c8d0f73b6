package projector

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	leadPoll    = time.Second
	leadTimeout = 5 * time.Second
)

const tryLeadSQL = `select pg_try_advisory_lock(hashtext($1))`

// lead waits until this process has the lock of the one projector of its kind, and returns the connection that
// has it.
//
// The lock belongs to the connection, and every write of the projector goes over that same connection:
// a projector that lost the lock has lost the means to write with it, so that one which was thought dead
// cannot come back and write beside its successor.
func lead(ctx context.Context, pool *pgxpool.Pool, lock string, standby func()) (*pgx.Conn, error) {
	connecting, cancel := context.WithTimeout(ctx, leadTimeout)
	defer cancel()
	pooled, err := pool.Acquire(connecting)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	conn := pooled.Hijack()
	if err := waitForLead(ctx, conn, lock, standby); err != nil {
		conn.Close(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("wait to be the one projector: %w", err)
	}
	return conn, nil
}

func waitForLead(ctx context.Context, conn *pgx.Conn, lock string, standby func()) error {
	for {
		trying, cancel := context.WithTimeout(ctx, leadTimeout)
		var leads bool
		err := conn.QueryRow(trying, tryLeadSQL, lock).Scan(&leads)
		cancel()
		if err != nil || leads {
			return err
		}
		standby()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(leadPoll):
		}
	}
}
