package projector

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Trial is a generation that is made to be compared with another one and then dropped.
type Trial struct {
	Name    string // of the generation
	Against string // the generation that was in service
	At      int64  // the position up to which it is projected
	conn    *pgx.Conn
}

const holdTrialSQL = `select pg_advisory_lock(hashtext($1))`

// ErrNothingInService says that there is nothing to compare with.
var ErrNothingInService = errors.New("nothing is in service yet: start a projector with orderbox serve")

// Try projects the log, as far as the generation in service has come, into a generation of its own: by the
// rules of the one in service, or by the schema of this projector from the beginning. progress, if not nil, is called with the position now and then.
//
// By the rules in service the error is ErrDetached where partitions of the log were detached.
//
// The caller must call Drop. It needs three connections of the pool and one process's time on one core;
// nothing that it does is seen by anybody else.
func (p *Projector) Try(ctx context.Context, asInService bool, progress func(position, end int64)) (*Trial, error) {
	pooled, err := p.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("project the log once more: %w", err)
	}
	t := &Trial{conn: pooled.Hijack()}
	if err := t.build(ctx, p, asInService, progress); err != nil {
		t.Drop(ctx)
		return nil, fmt.Errorf("project the log once more: %w", err)
	}
	return t, nil
}

func (t *Trial) build(ctx context.Context, p *Projector, asInService bool, progress func(position, end int64)) error {
	current, err := findGeneration(ctx, t.conn, stateCurrent)
	switch {
	case err != nil:
		return err
	case current.name == "":
		return ErrNothingInService
	case current.fingerprint != fingerprint() && asInService:
		return ErrOtherVersion
	}
	whole := func() error { // or it would be compared with what cannot be made again
		if !asInService {
			return nil
		}
		return pgx.BeginFunc(ctx, t.conn, func(tx pgx.Tx) error { return checkWhole(ctx, tx, current) })
	}
	if err := whole(); err != nil {
		return err
	}
	if err := t.create(ctx, current); err != nil {
		return err
	}
	x := p.newProjection(t.conn, generation{name: t.Name, state: stateTrial}, max(1, allCores()/2))
	x.end = t.At
	if asInService {
		x.gen.base = current.base
		x.rules, err = openRules(ctx, p.box, current.base)
	} else {
		x.rules = rules{{schema: p.schema}}
	}
	if err != nil {
		return err
	}
	if progress != nil {
		x.progress = func() { progress(x.checkpoint, t.At) }
	}
	end := func(ctx context.Context) (done bool, err error) {
		return true, pgx.BeginFunc(ctx, t.conn, func(tx pgx.Tx) error { return decide(ctx, tx) })
	}
	if err := x.run(ctx, p.pause, end); err != nil {
		return err
	}
	return whole() // a partition may have been detached meanwhile, and a repair would drop what became of it
}

// create makes the trial's tables, marks them as held, and says how far to go.
func (t *Trial) create(ctx context.Context, current generation) error {
	err := pgx.BeginFunc(ctx, t.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, searchPathSQL, current.name); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, checkpointSQL).Scan(&t.At); err != nil {
			return err
		}
		g, err := createGeneration(ctx, tx, stateTrial, 0)
		if err != nil {
			return err
		}
		t.Name, t.Against = g.name, current.name
		_, err = tx.Exec(ctx, holdTrialSQL, t.Name)
		return err
	})
	if err != nil {
		return err
	}
	_, err = t.conn.Exec(ctx, enterSQL, t.Name)
	return err
}

// Drop drops the trial's tables. When it cannot, the next trial does.
func (t *Trial) Drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	defer t.conn.Close(ctx)
	if t.Name == "" {
		return nil
	}
	if err := pgx.BeginFunc(ctx, t.conn, func(tx pgx.Tx) error { return dropTrial(ctx, tx, t.Name) }); err != nil {
		return fmt.Errorf("drop the trial: %w", err)
	}
	return nil
}
