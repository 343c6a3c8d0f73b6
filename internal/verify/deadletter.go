package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// Examples are some of each kind of change, lowest positions first; see Show.
type Examples struct {
	Orders struct {
		Appear []OrderExample `json:"appear,omitempty"`
		Vanish []OrderExample `json:"vanish,omitempty"`
		Change []OrderExample `json:"change,omitempty"`
		Move   []OrderExample `json:"move,omitempty"`
	} `json:"orders,omitzero"`
	DeadLetters struct {
		Resolved []MessageExample `json:"resolved,omitempty"`
		Arise    []MessageExample `json:"arise,omitempty"`
		Change   []MessageExample `json:"change,omitempty"`
		State    []MessageExample `json:"state,omitempty"`
	} `json:"dead_letters,omitzero"`
	Duplicates []MessageExample `json:"duplicates,omitempty"`
}

// MessageExample is one message of which the two sides make something else.
type MessageExample struct {
	Position int64   `json:"position"`
	Before   Verdict `json:"before"`
	After    Verdict `json:"after"`
	// Went and Came are the violations of a dead letter that only one side finds.
	Went []Violation `json:"went,omitempty"`
	Came []Violation `json:"came,omitempty"`
}

// Verdict is what became of a message.
type Verdict struct {
	// Kind is order, duplicate or dead_letter; of a resolved dead letter, what it is resolved as. Empty when
	// there is no verdict, which is against the laws.
	Kind string `json:"kind"`
	// OrderUID is that of the order, or of the order that a duplicate repeats.
	OrderUID string `json:"order_uid,omitempty"`
	// Reason and State are those of a dead letter.
	Reason string `json:"reason,omitempty"`
	State  string `json:"state,omitempty"`
	// By is the retry or the amendment that resolved it.
	By int64 `json:"by,omitempty"`
}

// Violation is one thing that is wrong with a message. It never quotes the message.
type Violation struct {
	Pointer string `json:"pointer"`
	Keyword string `json:"keyword"`
	Message string `json:"message"`
}

// letter is a dead letter as deadLettersSQL selects it.
type letter struct {
	reason     string
	violations []byte
	attempt    bool
	resolved   int64
	state      string
}

const (
	stateOpen      = "open"
	stateDiscarded = "discarded"
	stateResolved  = "resolved"
)

// letter is the fate's dead letter; nil when it is something else.
func (f *fate) letter() *letter {
	r := f.one(inDeadLetters)
	if r == nil {
		return nil
	}
	l := &letter{reason: string(r[1]), violations: r[3], attempt: r[6] != nil, state: stateOpen}
	switch {
	case r[8] != nil:
		l.state = stateResolved
		l.resolved, _ = strconv.ParseInt(string(r[8]), 10, 64) // a bigint
	case string(r[9]) == "t":
		l.state = stateDiscarded
	}
	return l
}

// refusedAlike says that two dead letters were refused for the same.
func (l *letter) refusedAlike(other *letter) bool {
	return l.reason == other.reason && bytes.Equal(l.violations, other.violations)
}

// deadLetter compares the dead letters that the two sides made of one message.
func (c *comparison) deadLetter(ctx context.Context, b, a *fate) error {
	counts, examples := &c.diff.DeadLetters, &c.diff.Examples.DeadLetters
	before, after := b.letter(), a.letter()
	switch {
	case before == nil && after == nil:
		return nil
	case before != nil && before.attempt || after != nil && after.attempt:
		if before == nil || after == nil || !before.refusedAlike(after) {
			c.diff.Attempts++
		}
		return nil
	case before == nil:
		return c.message(ctx, &counts.Arise, &examples.Arise, b, a)
	case after == nil:
		return c.message(ctx, &counts.Resolved, &examples.Resolved, b, a)
	}
	if !before.refusedAlike(after) {
		if err := c.message(ctx, &counts.Change, &examples.Change, b, a); err != nil {
			return err
		}
	}
	switch {
	case before.state == after.state:
		return nil
	case after.state == stateResolved:
		return c.message(ctx, &counts.Resolved, &examples.Resolved, b, a)
	default:
		return c.message(ctx, &counts.State, &examples.State, b, a)
	}
}

// duplicate compares the duplicates that the two sides made of one message.
func (c *comparison) duplicate(ctx context.Context, b, a *fate) error {
	if b.one(inDuplicates).equal(a.one(inDuplicates)) {
		return nil
	}
	return c.message(ctx, &c.diff.Duplicates, &c.diff.Examples.Duplicates, b, a)
}

// message counts one message, and makes an example of it while there is room.
func (c *comparison) message(ctx context.Context, count *int64, examples *[]MessageExample, b, a *fate) (err error) {
	if *count++; len(*examples) >= c.show.Examples {
		return nil
	}
	e := MessageExample{Position: b.position}
	if e.Before, err = c.verdict(ctx, c.diff.From, b); err != nil {
		return err
	}
	if e.After, err = c.verdict(ctx, c.diff.To, a); err != nil {
		return err
	}
	if before, after := b.letter(), a.letter(); before != nil && after != nil {
		was, is := before.list(), after.list()
		e.Went, e.Came = without(was, is), without(is, was)
	}
	*examples = append(*examples, e)
	return nil
}

// list is empty for what is no list of violations: that it differs is seen all the same.
func (l *letter) list() (violations []Violation) {
	if err := json.Unmarshal(l.violations, &violations); err != nil {
		return nil
	}
	return violations
}

func without(violations, others []Violation) []Violation {
	return slices.DeleteFunc(slices.Clone(violations), func(v Violation) bool { return slices.Contains(others, v) })
}

// A message that made an order, or repeated one.
const madeSQL = `
select o.order_uid,
    case when o.position = $1 then 'order' else 'duplicate' end
from orders as o
where o.position = coalesce((select d.first from duplicates as d where d.position = $1), $1)`

// verdict is what a generation made of a message.
func (c *comparison) verdict(ctx context.Context, generation string, f *fate) (v Verdict, err error) {
	made := f.position
	if l := f.letter(); l != nil {
		v = Verdict{Kind: "dead_letter", Reason: l.reason, State: l.state, By: l.resolved}
		if made = l.resolved; made == 0 {
			return v, nil
		}
	}
	if _, err := c.tx.Exec(ctx, enterGenerationSQL, generation); err != nil {
		return v, err
	}
	err = c.tx.QueryRow(ctx, madeSQL, made).Scan(&v.OrderUID, &v.Kind)
	if errors.Is(err, pgx.ErrNoRows) {
		return v, nil
	}
	return v, err
}
