package projector

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/retry"
)

const (
	leadPoll    = time.Second
	leadTimeout = 5 * time.Second
	// leadSign is how often whoever has the lock shows that it lives, when it has nothing to write.
	leadSign = time.Second
)

// silence is how long whoever has the lock may show no sign of life over its connection before it is taken for one that
// hangs.
type silence struct {
	own      time.Duration // between statements
	database time.Duration // in one, be it a COPY that is slow to send; it breaks off itself what takes longer than writeTimeout
}

var (
	// Another projector is at work within five seconds.
	projectorSilence = silence{3 * time.Second, 2 * time.Minute}
	// A replay pauses for others, and nobody waits for it.
	replaySilence = silence{2 * time.Minute, 2 * time.Minute}
)

const tryLeadSQL = `select pg_try_advisory_lock(hashtext($1))`

// lead waits until this process has the lock of the one projector of its kind, and returns the connection that
// has it.
//
// The lock belongs to the connection, and every write of the projector goes over that same connection:
// a projector that lost the lock has lost the means to write with it, so that one which was thought dead
// cannot come back and write beside its successor. One that hangs alive or whose network is cut, be it in the middle of
// a COPY, loses its connection to who stands by.
func lead(ctx context.Context, pool *pgxpool.Pool, lock string, may silence, standby func()) (*pgx.Conn, error) {
	connecting, cancel := context.WithTimeout(ctx, leadTimeout)
	defer cancel()
	pool.Reset() // a connection keeps what was wrong when it was made, such as a setting of its role
	pooled, err := pool.Acquire(connecting)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	conn := pooled.Hijack()
	if err := waitForLead(ctx, conn, lock, may, standby); err != nil {
		conn.Close(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("wait to be the one projector: %w", err)
	}
	return conn, nil
}

func waitForLead(ctx context.Context, conn *pgx.Conn, lock string, may silence, standby func()) error {
	for {
		trying, cancel := context.WithTimeout(ctx, leadTimeout)
		var leads bool
		err := conn.QueryRow(trying, tryLeadSQL, lock).Scan(&leads)
		cancel()
		if err != nil || leads {
			return err
		}
		ended, err := endSilent(ctx, conn, lock, may)
		if err != nil {
			return err
		}
		standby()
		wait := leadPoll
		if ended {
			wait /= 10 // its connection is about to be gone
		}
		if err := retry.Wait(ctx, wait); err != nil {
			return err
		}
	}
}

// A change of state that is far ahead is from before the clock stepped back, and whoever lives has made another since.
//
// Neither keepalives nor timeouts of the server's see a process that is stopped: its system goes on answering,
// and a COPY that waits for more is not interrupted.
const endSilentSQL = `
select pg_terminate_backend(a.pid)
from pg_locks as l
join pg_stat_activity as a on a.pid = l.pid
where l.locktype = 'advisory'
    and l.granted
    and l.database = (select oid from pg_database where datname = current_database())
    and (l.classid::bigint << 32 | l.objid::bigint) = hashtext($1)::bigint
    and abs(extract(epoch from now() - a.state_change)) >
        case a.state when 'active' then $3::float8 else $2 end`

// endSilent ends the connection that has the lock, if it has shown no sign of life for longer than it may.
func endSilent(ctx context.Context, conn *pgx.Conn, lock string, may silence) (ended bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, leadTimeout)
	defer cancel()
	tag, err := conn.Exec(ctx, endSilentSQL, lock, may.own.Seconds(), may.database.Seconds())
	return tag.RowsAffected() > 0, err
}
