package projector

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"orderbox/inbox"
)

// deploy sees to it that there is a generation in service, and returns it.
//
// A schema that this program brings and the log does not know yet is adopted: it judges from the end of the
// log on. And since the tables right of the log are to be what this program makes of the log, the next
// generation is ordered then, which the new schema judges from the beginning. A program whose schema was
// adopted once and is no longer in force is an older one: it goes on by the rules that are in force.
func (p *Projector) deploy(ctx context.Context, conn *pgx.Conn) (current generation, err error) {
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		id, inForce, err := p.alone(ctx, tx)
		if err != nil {
			return err
		}
		brought := id == 0
		if !brought && id != inForce {
			p.log.Warn("this is an older version: another schema is in force, and goes on being it", "schema", p.schema.version)
		}
		if current, err = findGeneration(ctx, tx, stateCurrent); err != nil {
			return err
		}
		switch {
		case current.name == "":
			if _, err := tx.Exec(ctx, forgetLostSQL); err != nil {
				return err
			}
			if brought {
				if inForce, err = p.adopt(ctx, tx); err != nil {
					return err
				}
			}
			current, err = createGeneration(ctx, tx, stateCurrent, inForce)
		case brought && errors.Is(checkWhole(ctx, tx, current), ErrDetached):
			p.log.Warn("a new version judges from now on, and what it would make of the messages before is not built: partitions of the log were detached. Archived ones come back by orderbox restore, and orderbox replay --without-detached leaves them behind",
				"schema", p.schema.version, "in_service", current.name)
			_, err = p.adopt(ctx, tx)
		case brought:
			p.log.Info("a new version: building the next generation", "schema", p.schema.version, "in_service", current.name)
			_, err = p.order(ctx, tx, brought, inForce)
		}
		return err
	})
	if err != nil {
		return current, fmt.Errorf("open a generation: %w", err)
	}
	return current, nil
}

const orderAloneSQL = `select pg_advisory_xact_lock(hashtext('orderbox order'))`

// alone makes tx the only one that orders a generation or adopts a schema, until it ends, and returns the id
// under which this program's schema was adopted last, 0 for never, and the id of the schema in force.
//
// This is not the log's lock, which orders come to last: giving up a generation waits for whoever writes into
// it, and no message is to wait for that.
func (p *Projector) alone(ctx context.Context, tx pgx.Tx) (id, inForce int64, err error) {
	if _, err := tx.Exec(ctx, orderAloneSQL); err != nil {
		return 0, 0, err
	}
	return inbox.Find(ctx, tx, p.schema.version, fingerprint())
}

// adopt makes this program's schema the one in force.
func (p *Projector) adopt(ctx context.Context, tx pgx.Tx) (id int64, err error) {
	return inbox.Adopt(ctx, tx, inbox.Schema{Version: p.schema.version, Fingerprint: fingerprint(), Source: p.schema.source})
}

// order makes the next generation, for the projectors to build: by the schema base, or by this program's,
// which is adopted. What was being built and what was in service before are given up for it.
func (p *Projector) order(ctx context.Context, tx pgx.Tx, adopt bool, base int64) (name string, err error) {
	for _, s := range []state{statePrevious, stateBuilding} {
		if _, err := giveUp(ctx, tx, s); err != nil {
			return "", err
		}
	}
	if adopt {
		if base, err = p.adopt(ctx, tx); err != nil {
			return "", err
		}
	}
	g, err := createGeneration(ctx, tx, stateBuilding, base)
	return g.name, err
}
