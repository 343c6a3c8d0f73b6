package projector

import (
	"context"
	"errors"
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
	own      time.Duration // while the database waits for it: between statements, and in one that it is still sending
	database time.Duration // while it waits for the database; it breaks off itself what takes longer than writeTimeout
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
	var seen sending
	for {
		trying, cancel := context.WithTimeout(ctx, leadTimeout)
		var leads bool
		err := conn.QueryRow(trying, tryLeadSQL, lock).Scan(&leads)
		cancel()
		if err != nil || leads {
			return err
		}
		ended, err := endSilent(ctx, conn, lock, may, &seen)
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

// sending is a statement of whoever has the lock, as it stood while the database waited for the rest of it.
type sending struct {
	state  time.Time // when the last part arrived that was not a COPY's rows
	copied int64     // bytes of rows since
	since  time.Time // by this process's clock, when it was first seen to stand so; zero for none
}

// A change of state that is far ahead is from before the clock stepped back, and whoever lives has made another since.
//
// Neither keepalives nor timeouts of the server's see a process that is stopped: its system goes on answering,
// and a COPY that waits for more is not interrupted. A slow COPY moves, though, by 64 KiB at a time.
const endSilentSQL = `
with leader as (
    select a.pid, a.state, a.state_change, coalesce(c.bytes_processed, 0) as copied,
        a.state = 'active' and a.wait_event = 'ClientRead' as sends
    from pg_locks as l
    join pg_stat_activity as a on a.pid = l.pid
    left join pg_stat_progress_copy as c on c.pid = l.pid
    where l.locktype = 'advisory'
        and l.granted
        and l.database = (select oid from pg_database where datname = current_database())
        and (l.classid::bigint << 32 | l.objid::bigint) = hashtext($1)::bigint
)
select state_change, copied, coalesce(sends, false),
    case when abs(extract(epoch from now() - state_change)) > case state when 'active' then $3::float8 else $2 end
            or sends and state_change = $4 and copied = $5
        then pg_terminate_backend(pid)
        else false
    end
from leader`

// endSilent ends the connection that has the lock, if it has shown no sign of life for longer than it may. seen is what
// the last call saw.
func endSilent(ctx context.Context, conn *pgx.Conn, lock string, may silence, seen *sending) (ended bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, leadTimeout)
	defer cancel()
	var stands *time.Time // unchanged for too long
	if !seen.since.IsZero() && time.Since(seen.since) > may.own {
		stands = &seen.state
	}
	now := sending{since: time.Now()}
	var sends bool
	err = conn.QueryRow(ctx, endSilentSQL, lock, may.own.Seconds(), may.database.Seconds(), stands, seen.copied).
		Scan(&now.state, &now.copied, &sends, &ended)
	switch {
	case errors.Is(err, pgx.ErrNoRows): // nobody has it any more
		*seen, err = sending{}, nil
	case err != nil || !sends:
		*seen = sending{}
	case !now.state.Equal(seen.state) || now.copied != seen.copied:
		*seen = now
	}
	return ended, err
}
