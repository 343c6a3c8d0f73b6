package projector

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"orderbox/internal/grace"
)

// notifications is the PostgreSQL channel that is notified after every transaction that projects.
const notifications = "orderbox_projection"

// errMoved says that the checkpoint is not where this projector left it.
var errMoved = errors.New("another projector moved the checkpoint")

// fates is what became of a batch: each message is in exactly one of the slices.
type fates struct {
	orders     []judgement
	duplicates []duplicate
	dead       []judgement

	// What each original in resolved was resolved by stands in resolving.
	resolved, resolving []int64
}

// resolve notes that a retry or an amendment was not refused. Of several the first one counts.
func (f *fates) resolve(j judgement) {
	if j.original != 0 && !slices.Contains(f.resolved, j.original) {
		f.resolved, f.resolving = append(f.resolved, j.original), append(f.resolving, j.position)
	}
}

// duplicate is a message whose order was there already.
type duplicate struct{ position, first int64 }

// It says whether there are decisions to apply, for which most batches need no further trip then.
const moveCheckpointSQL = `
update checkpoint
set position = $2,
    orders = orders + $3,
    duplicates = duplicates + $4,
    dead_letters = dead_letters + $5
where position = $1
returning coalesce((select max(id) from decisions) > decision, false)`

// One that was resolved before stays as it is, so batches may be cut anywhere.
const resolveSQL = `
with changed as (
    update dead_letters as d
    set resolved = r.resolving
    from unnest($1::bigint[], $2::bigint[]) as r (resolved, resolving)
    join dead_letters as before on before.position = r.resolved
    where d.position = r.resolved
        and d.resolved is null
    returning d.position, d.reason, d.original, before.state as was, d.state
)` + countChanged

// It waits for a switch that is under way, and makes one wait: a generation is written to only while it is in
// the state that its projector knows.
const guardSQL = `
select state
from generations
where name = $1
for share`

// guard takes the answer to guardSQL, or to one that goes on.
func (x *projection) guard(answer pgx.Row, more ...any) error {
	var s state
	err := answer.Scan(append([]any{&s}, more...)...)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && s != x.gen.state {
		return errReplaced
	}
	return err
}

// write projects a batch in one transaction: its rows, its dead letters and the checkpoint, from where it
// stands to the batch's last message. So each message is projected exactly once, whatever happens: a
// transaction whose commit got lost is seen in the checkpoint. What has begun when ctx ends is finished.
func (x *projection) write(ctx context.Context, judged []judgement) (f fates, err error) {
	if err := ctx.Err(); err != nil {
		return fates{}, err
	}
	ctx, release := grace.Context(ctx, finishDeadline)
	defer release()
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if f, err = x.transact(ctx, judged); err != nil {
		x.rollBack(ctx)
		return fates{}, fmt.Errorf("project %d messages after %d: %w", len(judged), x.checkpoint, err)
	}
	x.projected.Notify(ctx) // not by the leader's own connection, which would not survive a timeout
	return f, nil
}

func (x *projection) transact(ctx context.Context, judged []judgement) (f fates, err error) {
	known, err := x.begin(ctx, judged)
	if err != nil {
		return fates{}, err
	}
	f = sort(judged, known)
	undecided, err := x.move(ctx, judged[len(judged)-1].position, &f)
	if err == nil && len(f.resolved) > 0 {
		_, err = x.conn.Exec(ctx, resolveSQL, f.resolved, f.resolving)
	}
	if err == nil && undecided && x.gen.state == stateCurrent {
		err = decide(ctx, x.conn)
	}
	if err == nil {
		_, err = x.conn.Exec(ctx, "commit")
	}
	return f, err
}

// begin begins a transaction, guards, and looks up the orders of a batch, all in one trip to the database.
func (x *projection) begin(ctx context.Context, judged []judgement) (map[string]known, error) {
	questions := &pgx.Batch{}
	questions.Queue("begin")
	questions.Queue(guardSQL, x.gen.name)
	questions.Queue(knownOrdersSQL, uidsOf(judged))
	answers := x.conn.SendBatch(ctx, questions)
	defer answers.Close()
	if _, err := answers.Exec(); err != nil {
		return nil, err
	}
	if err := x.guard(answers.QueryRow()); err != nil {
		return nil, err
	}
	known, err := knownOrders(answers.Query())
	if err != nil {
		return nil, storing{err}
	}
	return known, nil
}

// rollBack ends a transaction that failed, or else the connection.
func (x *projection) rollBack(ctx context.Context) {
	if _, err := x.conn.Exec(ctx, "rollback"); err != nil {
		x.conn.Close(ctx)
	}
}

// move takes the checkpoint to a position and writes the rows of the batch that ends there. It says whether there are
// decisions to apply.
//
// A few rows are inserted in the same trip to the database: a COPY is some trips more for each table, and takes
// less time only for many rows.
func (x *projection) move(ctx context.Context, to int64, f *fates) (undecided bool, err error) {
	statements, tables := &pgx.Batch{}, f.tables()
	statements.Queue(moveCheckpointSQL, x.checkpoint, to, len(f.orders), len(f.duplicates), len(f.dead))
	f.countNew(statements)
	copied := rowsOf(tables) > fewRows
	if !copied {
		for _, t := range tables {
			t.insert(statements)
		}
	}
	answers := x.conn.SendBatch(ctx, statements)
	defer answers.Close()
	err = answers.QueryRow().Scan(&undecided)
	if errors.Is(err, pgx.ErrNoRows) {
		err = errMoved
	}
	if err != nil {
		return false, err
	}
	for range statements.Len() - 1 {
		if _, err := answers.Exec(); err != nil {
			return false, storing{err}
		}
	}
	if err := answers.Close(); err != nil || !copied {
		return undecided, err
	}
	for _, t := range tables {
		if err := t.copy(ctx, x.conn); err != nil {
			return false, storing{err}
		}
	}
	return undecided, nil
}

// known is an order that was projected before.
type known struct {
	position int64
	digest   [sha256.Size]byte
}

// Each is looked up by itself: asked for any of 2,000, the planner reads all of a table that was never analysed.
const knownOrdersSQL = `
select o.order_uid, o.position, o.digest
from unnest($1::text[]) as sought (order_uid)
cross join lateral (
    select order_uid, position, digest
    from orders
    where order_uid = sought.order_uid
    limit 1) as o`

func uidsOf(judged []judgement) (uids []string) {
	uids = make([]string, 0, len(judged)) // a nil slice would be sent as null
	for _, j := range judged {
		if j.dead == nil {
			uids = append(uids, j.order.OrderUID)
		}
	}
	return uids
}

// knownOrders takes the answer to knownOrdersSQL.
func knownOrders(rows pgx.Rows, err error) (map[string]known, error) {
	if err != nil {
		return nil, err
	}
	found := make(map[string]known)
	var uid string
	var position int64
	var digest []byte
	_, err = pgx.ForEachRow(rows, []any{&uid, &position, &digest}, func() error {
		found[uid] = known{position, [sha256.Size]byte(digest)}
		return nil
	})
	return found, err
}

// sort tells new orders from duplicates and conflicts; of several in one batch the first counts.
func sort(judged []judgement, orders map[string]known) (f fates) {
	for _, j := range judged {
		if j.dead != nil {
			f.dead = append(f.dead, j)
			continue
		}
		first, there := orders[j.order.OrderUID]
		switch {
		case !there:
			orders[j.order.OrderUID] = known{j.position, j.digest}
			f.orders = append(f.orders, j)
			f.resolve(j)
		case first.digest == j.digest:
			f.duplicates = append(f.duplicates, duplicate{j.position, first.position})
			f.resolve(j)
		default:
			f.dead = append(f.dead, j.refuse(conflictLetter(first.position)))
		}
	}
	return f
}
