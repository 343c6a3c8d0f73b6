package query

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/retry"
)

const (
	// firstLook is after how long a standby is asked again for what the primary has announced, and the standby does not show yet.
	// It is asked after twice as long then, and so on, up to the poll interval.
	firstLook = 2 * time.Millisecond
	// primaryTimeout is how long the primary has to say how far it is.
	primaryTimeout = 2 * time.Second
)

// primary is what a follower that reads from a standby has to do with the primary. Nobody listens at a standby, so the
// primary is who announces what is new, a moment before the standby shows it; and how far the standby is behind only the
// primary knows. While it is away the follower goes on with what the standby has.
type primary struct {
	pool *pgxpool.Pool
	// projected is how far the primary was when it was last asked; nil while it does not answer.
	projected atomic.Pointer[projected]
	// database is which one it is; nil until the primary has once answered.
	database atomic.Pointer[string]
	standby  atomic.Bool // the follower does read from a standby, and not from a primary in its stead
	foreign  atomic.Bool // the follower was to read from another database
}

// watch keeps up to date what is known of the primary, until ctx ends.
func (f *follower) watch(ctx context.Context) {
	p := f.primary
	retry.Forever(ctx, f.log, "ask the primary how far it is", func(ctx context.Context, works func()) error {
		for {
			if err := p.ask(ctx); err != nil {
				p.pool.Reset() // another server may be the primary now
				return err
			}
			works()
			if err := retry.Wait(ctx, f.poll); err != nil {
				return err
			}
		}
	})
}

// ask notes which database the primary is, and how far it is: nothing when there is no projection yet, or on an error.
func (p *primary) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, primaryTimeout)
	defer cancel()
	var database string
	err := p.pool.QueryRow(ctx, whichServerSQL).Scan(&database, nil)
	var now *projected
	if err == nil {
		p.database.Store(&database)
		now, err = readProjected(ctx, p.pool)
	}
	p.projected.Store(now)
	return err
}

// A standby has the system identifier of its primary, and the same databases.
const whichServerSQL = `
select s.system_identifier || '/' || d.oid, pg_is_in_recovery()
from pg_control_system() as s
join pg_database as d on d.datname = current_database()`

var errForeign = errors.New("orders are to be read from another database than the service writes to; " +
	"try: --read-database-url with a hot standby of --database-url, and the same database name")

// locate finds out whom the follower reads from, which may have been promoted, or be the primary in the stead of a standby
// that is away. Another database is an error, once the primary has told which one it is.
func (f *follower) locate(ctx context.Context, tx pgx.Tx) error {
	if f.primary == nil {
		return nil
	}
	var database string
	var standby bool
	if err := tx.QueryRow(ctx, whichServerSQL).Scan(&database, &standby); err != nil {
		return err
	}
	known := f.primary.database.Load()
	foreign := known != nil && *known != database
	if f.primary.foreign.Store(foreign); foreign {
		return errForeign
	}
	if f.primary.standby.Swap(standby) != standby {
		f.log.Info("orders are read from another kind of server now", "standby", standby)
	}
	return nil
}

// again is for the next look at a standby, which may show by then what was announced; never where there is none.
func (f *follower) again(after time.Duration) <-chan time.Time {
	if f.primary == nil {
		return nil
	}
	return time.After(after)
}

// newest is the checkpoint that there is, as far as anybody says: as the follower last read it, or as the primary did.
func (f *follower) newest() int64 {
	if f.primary != nil {
		if now := f.primary.projected.Load(); now != nil {
			return now.checkpoint
		}
	}
	return f.checkpoint.Load()
}

// isAll says whether a cache that has all that the database shows has all there is, as far as anybody says.
func (f *follower) isAll(c *cache) bool {
	if f.primary == nil {
		return true
	}
	now := f.primary.projected.Load()
	return now == nil || now.generation == c.generation && now.checkpoint <= c.position.Load()
}

// Role says what the stage does, and of a follower that is to read from a standby whether it does. It may be called
// concurrently.
func (s *Server) Role() string {
	p := s.follower.primary
	switch {
	case p == nil || s.follower.fitAt.Load() == nil:
		return "answering"
	case p.standby.Load():
		return "answering from a standby"
	default:
		return "answering from the primary"
	}
}
