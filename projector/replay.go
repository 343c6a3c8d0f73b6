package projector

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"orderbox/internal/retry"
)

// ErrNoPrevious says that there is no generation to go back to.
var ErrNoPrevious = errors.New("there is no previous generation: it is kept from one replay until the next")

// ErrOtherVersion says that a generation is not of this program's making.
var ErrOtherVersion = errors.New("the generation was made by another version, and only that one can bring it up to date")

// ErrReplaying says that a replay is under way.
var ErrReplaying = errors.New("a replay is under way")

// Order orders a full replay: the projectors build the next generation, by the schema in force from the
// beginning, and put it in service when it has caught up. The previous generation, and one that is being
// built, are given up. A schema of this projector that the log does not know yet is adopted before; adopt
// does that with one that was in force once, too. It returns the name of the generation to wait for.
//
// Where partitions of the log were detached the error is ErrDetached, unless withoutDetached says that what became
// of their messages may be left behind.
func (p *Projector) Order(ctx context.Context, adopt, withoutDetached bool) (generation string, err error) {
	err = p.inTx(ctx, "order a replay", func(tx pgx.Tx) error {
		id, inForce, err := p.alone(ctx, tx)
		if err != nil {
			return err
		}
		if current, err := findGeneration(ctx, tx, stateCurrent); err != nil {
			return err
		} else if current.name != "" && !withoutDetached {
			if err := checkWhole(ctx, tx, current); err != nil {
				return err
			}
		}
		generation, err = p.order(ctx, tx, id == 0 || adopt && id != inForce, inForce)
		return err
	})
	return generation, err
}

const rollBackSQL = `
update generations
set state = 'building', status = ''
where state = 'previous'`

// RollBack orders the previous generation back: it catches up with the log and is put in service like any
// that was built. The one in service is the previous one then.
func (p *Projector) RollBack(ctx context.Context) (generation string, err error) {
	err = p.inTx(ctx, "roll back", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, orderAloneSQL); err != nil {
			return err
		}
		building, err := findGeneration(ctx, tx, stateBuilding)
		if err != nil {
			return err
		}
		previous, err := findGeneration(ctx, tx, statePrevious)
		switch {
		case err != nil:
			return err
		case building.name != "":
			return ErrReplaying
		case previous.name == "":
			return ErrNoPrevious
		case previous.fingerprint != fingerprint():
			return ErrOtherVersion
		}
		generation = previous.name
		_, err = tx.Exec(ctx, rollBackSQL)
		return err
	})
	return generation, err
}

// Cancel gives up the generation that is being built, and says whether there was one. Its tables are dropped
// when nobody reads them.
func (p *Projector) Cancel(ctx context.Context) (was bool, err error) {
	return p.giveUp(ctx, stateBuilding)
}

// DropPrevious gives up the previous generation, and says whether there was one. Its tables are dropped when
// nobody reads them.
func (p *Projector) DropPrevious(ctx context.Context) (was bool, err error) {
	return p.giveUp(ctx, statePrevious)
}

func (p *Projector) giveUp(ctx context.Context, s state) (was bool, err error) {
	err = p.inTx(ctx, "give up a generation", func(tx pgx.Tx) (err error) {
		was, err = giveUp(ctx, tx, s)
		return err
	})
	return was, err
}

func (p *Projector) inTx(ctx context.Context, doing string, f func(tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := pgx.BeginFunc(ctx, p.pool, f); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// Build builds the generations that are ordered, one after the other, until ctx ends, for as long as the
// database takes to come back. It stands by while another process does. Run does this too: it is for a
// program that only waits for a replay, in case that no service runs.
func (p *Projector) Build(ctx context.Context) {
	retry.Forever(ctx, p.log, "replay", func(ctx context.Context, works func()) error {
		conn, err := lead(ctx, p.pool, "orderbox replay", replaySilence, works)
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		pace := newPace()
		for {
			gen, err := findGeneration(ctx, conn, stateBuilding)
			if err != nil {
				return err
			}
			if err := dropUnheld(ctx, conn); err != nil {
				return err
			}
			works()
			if gen.name != "" && gen.fingerprint == fingerprint() {
				if err := p.build(ctx, conn, gen, pace); err != nil && !errors.Is(err, errReplaced) {
					return err
				}
			} else {
				pace.learn(p.feel(ctx, pace))
			}
			if err := p.pause(ctx); err != nil {
				return err
			}
		}
	})
}

func (p *Projector) pause(ctx context.Context) error {
	return retry.Wait(ctx, p.o.Poll)
}

// build projects into a generation until it is in service.
func (p *Projector) build(ctx context.Context, conn *pgx.Conn, gen generation, pace *pace) error {
	x, err := p.open(ctx, conn, gen)
	if err != nil {
		return err
	}
	x.cores = max(1, allCores()/2) // the others answer and project meanwhile
	p.log.Info("building a generation", "generation", gen.name, "checkpoint", x.checkpoint)
	x.paced(ctx, pace)
	return x.run(ctx, p.pause, x.takeOver)
}

// The projector of the generation in service waits for this row before it writes.
const holdCurrentSQL = `
select name, set_config('search_path', quote_ident(name) || ', public', true)
from generations
where state = 'current'
    and to_regnamespace(name) is not null
for update`

const retireGenerationSQL = `
update generations
set state = 'previous'
where state = 'current'`

const serveGenerationSQL = `
update generations
set state = 'current', status = ''
where name = $1
    and state = 'building'`

// takeOver puts a generation that has come to the end of the log in the place of the one in service, in one
// transaction: holding that one where it is, it projects the little that it is behind, and then they change
// places. So no checkpoint ever goes back, and whoever reads sees the one or the other.
func (x *projection) takeOver(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, x.pool, func(tx pgx.Tx) error {
		if err := x.catchUp(ctx, tx); err != nil {
			return err
		}
		// There is one when this generation was ordered while another one was put in service.
		if _, err := giveUp(ctx, tx, statePrevious); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, retireGenerationSQL); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, serveGenerationSQL, x.gen.name)
		if err == nil && tag.RowsAffected() != 1 {
			err = errReplaced
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("put %s in service: %w", x.gen.name, err)
	}
	x.projected.Notify(ctx)
	x.log.Info("put in service", "generation", x.gen.name, "checkpoint", x.checkpoint)
	return true, nil
}

// catchUp holds the generation in service where it is, for as long as tx lasts, and projects up to there.
func (x *projection) catchUp(ctx context.Context, tx pgx.Tx) error {
	var name string
	var end, judged int64
	err := tx.QueryRow(ctx, holdCurrentSQL).Scan(&name, nil)
	if err == nil {
		err = tx.QueryRow(ctx, judgedSQL).Scan(&end, &judged)
	}
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	x.pace.set(0) // who is held does not wait for pauses
	for x.checkpoint < end {
		judged, _, err := x.next(ctx, x.checkpoint)
		if err == nil && len(judged) > 0 {
			err = x.project(ctx, judged)
		} else if err == nil {
			err = x.skipDetached(ctx, end)
		}
		if err != nil {
			return err
		}
	}
	if err := x.checkLost(ctx, tx, judged, end); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, x.conn, func(tx pgx.Tx) error { return decide(ctx, tx) })
}
