package query

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// maxHistory bounds the decisions that are shown of one dead letter: the latest.
const maxHistory = 1000

// What became of a decision.
const (
	outcomePending    = "pending" // the projector has not come to it yet
	outcomeApplied    = "applied" // a discard or a reopening
	outcomeOrder      = "order"
	outcomeDuplicate  = "duplicate"
	outcomeDeadLetter = "dead_letter"
)

// decision is what an operator decided about a dead letter, and what became of it.
type decision struct {
	At      time.Time `json:"at"`
	By      string    `json:"by"`
	Kind    string    `json:"kind"` // retry, amend, discard or reopen
	Note    string    `json:"note"`
	Entry   *int64    `json:"entry,omitempty"` // of the retry or the amendment, in the log
	Outcome string    `json:"outcome"`
	// Why the entry was refused, when it was.
	Sentence   *string     `json:"sentence,omitempty"`
	Violations []violation `json:"violations,omitempty"`
	OrderUID   *string     `json:"order_uid,omitempty"` // of the order it made or was the same as
}

// Up to the checkpoint each entry has one fate.
const readHistorySQL = `
select h.decided_at, h.decided_by, h.kind, h.note, h.entry,
    case
        when coalesce(h.entry > k.position, h.id > k.decision) then '` + outcomePending + `'
        when h.entry is null then '` + outcomeApplied + `'
        when o.position is not null then '` + outcomeOrder + `'
        when u.position is not null then '` + outcomeDuplicate + `'
        else '` + outcomeDeadLetter + `'
    end,
    d.sentence, d.violations, coalesce(o.order_uid, f.order_uid)
from decisions as h
cross join checkpoint as k
left join orders as o on o.position = h.entry
left join duplicates as u on u.position = h.entry
left join orders as f on f.position = u.first
left join dead_letters as d on d.position = h.entry
where h.position = $1
order by h.id desc
limit $2`

// readHistory returns the decisions about a dead letter, oldest first.
func readHistory(ctx context.Context, tx pgx.Tx, id int64) ([]decision, error) {
	rows, err := tx.Query(ctx, readHistorySQL, id, maxHistory)
	if err != nil {
		return nil, fmt.Errorf("read the history of dead letter %d: %w", id, err)
	}
	history, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d decision, err error) {
		err = row.Scan(&d.At, &d.By, &d.Kind, &d.Note, &d.Entry, &d.Outcome, &d.Sentence, &d.Violations, &d.OrderUID)
		d.At = d.At.UTC()
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the history of dead letter %d: %w", id, err)
	}
	slices.Reverse(history)
	return history, nil
}
