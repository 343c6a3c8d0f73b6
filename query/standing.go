package query

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"
)

// What an operator may decide.
const (
	kindRetry   = "retry"
	kindAmend   = "amend"
	kindDiscard = "discard"
	kindReopen  = "reopen"
)

// standing is how things stand with a dead letter, as far as a decision about it goes.
type standing struct {
	id      int64
	state   string
	pending bool  // a decision about it has yet to be applied
	size    int   // of the payload in bytes, for a retry; of the patched one, for an amendment by a patch
	later   int64 // a later message that made the order that this one would make, for a retry; 0 for none

	unpatched bool // the patch does not apply
}

// One whose message was detached from the log is none to decide about.
const readStandingsSQL = `
select d.position, d.state,
    exists (
        select
        from decisions as h
        where h.position = d.position
            and coalesce(h.entry > k.position, h.id > k.decision)
    )
from dead_letters as d
cross join checkpoint as k
where d.position = any($1)
    and d.original is null
    and exists (select from inbox as i where i.position = d.position)
order by d.position`

// readStandings returns how things stand with those of the ids that are dead letters, oldest first.
func readStandings(ctx context.Context, tx pgx.Tx, kind string, ids []int64) ([]standing, error) {
	// Here and below, each chunk is planned for the tables as they are now: a plan that was kept from before a
	// hundred thousand decisions were recorded would read them all for each dead letter.
	rows, err := tx.Query(ctx, readStandingsSQL, pgx.QueryExecModeDescribeExec, ids)
	if err != nil {
		return nil, fmt.Errorf("read how %d dead letters stand: %w", len(ids), err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l standing, err error) {
		return l, row.Scan(&l.id, &l.state, &l.pending)
	})
	if err == nil && kind == kindRetry {
		err = findLater(ctx, tx, found)
	}
	if err != nil {
		return nil, fmt.Errorf("read how %d dead letters stand: %w", len(ids), err)
	}
	return found, nil
}

const readPayloadsSQL = `
select position, payload
from inbox
where position = any($1)
order by position`

// eachPayload calls f with one message after the other, the oldest first.
func eachPayload(ctx context.Context, tx pgx.Tx, ids []int64, f func(id int64, payload []byte) error) error {
	rows, err := tx.Query(ctx, readPayloadsSQL, pgx.QueryExecModeDescribeExec, ids)
	if err != nil {
		return err
	}
	var id int64
	var payload []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &payload}, func() error { return f(id, payload) })
	return err
}

// indexed returns how to find each dead letter by its id, and the ids.
func indexed(letters []standing) (at map[int64]*standing, ids []int64) {
	at = make(map[int64]*standing, len(letters))
	for i := range letters {
		at[letters[i].id] = &letters[i]
		ids = append(ids, letters[i].id)
	}
	return at, ids
}

const findLaterSQL = `
select wanted.position, o.position
from unnest($1::bigint[], $2::text[]) as wanted (position, order_uid)
join orders as o on o.order_uid = wanted.order_uid and o.position > wanted.position`

// findLater notes for each dead letter which later message made an order of the same id. A retry would lose
// to it; were all decided again, this one would come first and win.
//
// What an order is only the projector knows. A retry that slips through is judged by it, so the worst is a
// conflict in the history. One payload at a time is in memory.
func findLater(ctx context.Context, tx pgx.Tx, letters []standing) error {
	at, ids := indexed(letters)
	var named []int64
	var uids []string
	err := eachPayload(ctx, tx, ids, func(id int64, payload []byte) error {
		at[id].size = len(payload)
		if uid := uidIn(payload); uid != "" {
			named, uids = append(named, id), append(uids, uid)
		}
		return nil
	})
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, findLaterSQL, pgx.QueryExecModeDescribeExec, named, uids)
	if err != nil {
		return err
	}
	var id, later int64
	_, err = pgx.ForEachRow(rows, []any{&id, &later}, func() error {
		at[id].later = later
		return nil
	})
	return err
}

// uidIn returns the order_uid that a payload names; empty when it is no JSON object, or names none that an
// order could have.
func uidIn(payload []byte) (uid string) {
	var fields map[string]json.RawMessage // and no struct, which would take ORDER_UID for it as well
	if json.Unmarshal(payload, &fields) != nil || json.Unmarshal(fields["order_uid"], &uid) != nil || !isText(uid) {
		return ""
	}
	return uid
}

// objection returns a problem when a decision makes no sense as things stand.
func (l standing) objection(kind string) error {
	conflict := func(problem, detail, fix string) error {
		return newProblem(http.StatusConflict, problem, "This cannot be decided as things stand", detail, fix)
	}
	wanted := stateOpen
	if kind == kindReopen {
		wanted = stateDiscarded
	}
	switch {
	case l.state != wanted:
		return conflict("wrong-state", "The dead letter is "+l.state+", not "+wanted+".", fixForState[l.state])
	case l.pending:
		return conflict("decision-pending", "A decision about this dead letter has yet to be applied.",
			"Wait a moment and look at its history. If that does not help, see whether a projector runs.")
	case l.later > 0:
		return conflict("replay-decides-otherwise", fmt.Sprintf("The message at position %d, which came later, made an order of the same order_uid. "+
			"A retry would lose to it, while a replay may let this message, which came first, win.", l.later),
			"To let the first message win, run: orderbox replay. To let the order stand, discard this dead letter.")
	}
	return nil
}

// What to do about a dead letter that is in a state in which something cannot be decided.
var fixForState = map[string]string{
	stateOpen:      "Discard it before it can be reopened.",
	stateDiscarded: "Reopen it first.",
	stateResolved:  "Nothing is left to decide: its history says what it became.",
}
