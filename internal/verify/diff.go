package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Diff is what would change if one generation took the place of another. Everything is said of the
// messages up to At; what came after them counts on neither side.
type Diff struct {
	From string `json:"from"`
	To   string `json:"to"`
	At   int64  `json:"at"`

	Orders      OrderCounts      `json:"orders"`
	DeadLetters DeadLetterCounts `json:"dead_letters"`
	// Duplicates are the messages that become one, are one no longer, or are one of another message.
	Duplicates int64 `json:"duplicates"`
	// Attempts are the retries and amendments that are refused on one side only, or for something else.
	Attempts int64 `json:"attempts"`
	// Tables are all tables of a generation, row by row.
	Tables []TableDiff `json:"tables"`
	// Positions are the first thousand messages of which any row differs.
	Positions []int64  `json:"positions,omitempty"`
	Examples  Examples `json:"examples"`
}

// OrderCounts counts orders by their order_uid; each in one number at most.
type OrderCounts struct {
	Appear int64 `json:"appear"`
	Vanish int64 `json:"vanish"`
	// Change have other content, whether or not it comes from another message.
	Change int64 `json:"change"`
	// Move have the same content and come from another message.
	Move int64 `json:"move"`
}

// DeadLetterCounts counts dead letters that are no retries or amendments. One that changes may also be
// among those resolved or with another state.
type DeadLetterCounts struct {
	// Resolved are no dead letters any more, or get the state resolved.
	Resolved int64 `json:"resolved"`
	// Arise from messages that were orders or duplicates.
	Arise int64 `json:"arise"`
	// Change have another reason or other violations.
	Change int64 `json:"change"`
	// State get another state, but not resolved.
	State int64 `json:"state"`
}

// TableDiff counts rows by their keys. Different are those with the same key and anything else in any
// column.
type TableDiff struct {
	Table     string `json:"table"`
	OnlyFrom  int64  `json:"only_from"`
	OnlyTo    int64  `json:"only_to"`
	Different int64  `json:"different"`
}

// Same says that every column of every row is identical.
func (d *Diff) Same() bool {
	for _, t := range d.Tables {
		if t.OnlyFrom+t.OnlyTo+t.Different > 0 {
			return false
		}
	}
	return true
}

// Show says what a comparison tells beside the counts.
type Show struct {
	// Examples is how many there may be of each kind.
	Examples int
	// Values has the examples say what the fields of orders were and would be. That is personal data.
	Values bool
}

const unreachedSQL = `
select exists (
    select
    from inbox
    where position > $1
        and position <= $2
)`

const generationNamedSQL = `
select exists (
    select
    from generations
    where name = $1
)`

// Compare says what would change if the generation to took the place of from, both seen as they were at
// position at and at the last decision that both have applied; both must have come that far. It reads
// both, in one snapshot and in bounded memory, and needs one connection and the rights of a reader.
func Compare(ctx context.Context, pool *pgxpool.Pool, from, to string, at int64, show Show) (Diff, error) {
	c := comparison{tables: tables(), show: show}
	err := inSnapshot(ctx, pool, func(tx pgx.Tx) error {
		c.tx, c.diff = tx, Diff{From: from, To: to, At: at, Tables: make([]TableDiff, tableCount)}
		for i, t := range c.tables {
			c.diff.Tables[i].Table = t.name
		}
		return c.run(ctx)
	})
	if err != nil {
		return Diff{}, fmt.Errorf("compare the generations %s and %s: %w", from, to, err)
	}
	return c.diff, nil
}

const maxPositions = 1000

// comparison is a Compare under way.
type comparison struct {
	tx            pgx.Tx
	tables        [tableCount]table
	show          Show
	diff          Diff
	decision      int64 // the last one that both sides have applied
	before, after *stream

	// Orders that stand at their position on one side only, until it is known what the other side makes of
	// their order_uid.
	gone, come []placedOrder
}

func (c *comparison) run(ctx context.Context) error {
	fromDecision, err := c.reached(ctx, c.diff.From)
	if err != nil {
		return err
	}
	toDecision, err := c.reached(ctx, c.diff.To)
	if err != nil {
		return err
	}
	c.decision = min(fromDecision, toDecision)
	r := reach{to: c.diff.At, decision: c.decision}
	if c.before, err = openStream(ctx, c.tx, "before", c.diff.From, r); err != nil {
		return err
	}
	if c.after, err = openStream(ctx, c.tx, "after", c.diff.To, r); err != nil {
		return err
	}
	if err := c.merge(ctx); err != nil {
		return err
	}
	return c.settleOrders(ctx)
}

// reached returns the last decision that a generation has applied.
func (c *comparison) reached(ctx context.Context, generation string) (decision int64, err error) {
	var there bool
	if err := c.tx.QueryRow(ctx, generationNamedSQL, generation).Scan(&there); err != nil {
		return 0, err
	}
	if !there {
		return 0, fmt.Errorf("there is no generation %q", generation)
	}
	if _, err := c.tx.Exec(ctx, enterGenerationSQL, generation); err != nil {
		return 0, err
	}
	var position int64
	err = c.tx.QueryRow(ctx, reachedSQL).Scan(&position, &decision)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("%s has no checkpoint", generation)
	}
	if err != nil {
		return 0, err
	}
	var unreached bool
	if err := c.tx.QueryRow(ctx, unreachedSQL, position, c.diff.At).Scan(&unreached); err != nil {
		return 0, err
	}
	if unreached {
		return 0, fmt.Errorf("%s has come to position %d only, not to %d", generation, position, c.diff.At)
	}
	return decision, nil
}

// merge goes through the positions of both sides.
func (c *comparison) merge(ctx context.Context) error {
	b, err := c.before.next(ctx)
	if err != nil {
		return err
	}
	a, err := c.after.next(ctx)
	if err != nil {
		return err
	}
	for b != nil || a != nil {
		before, after := b, a
		switch {
		case a == nil || b != nil && b.position < a.position:
			after = &fate{position: b.position}
		case b == nil || a.position < b.position:
			before = &fate{position: a.position}
		}
		if err := c.compare(ctx, before, after); err != nil {
			return fmt.Errorf("position %d: %w", before.position, err)
		}
		if before == b {
			if b, err = c.before.next(ctx); err != nil {
				return err
			}
		}
		if after == a {
			if a, err = c.after.next(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// compare compares what the two sides made of one message.
func (c *comparison) compare(ctx context.Context, b, a *fate) error {
	same := true
	for i, t := range c.tables {
		if !c.diff.Tables[i].count(t, b.rows[i], a.rows[i]) {
			same = false
		}
	}
	if same {
		return nil
	}
	if len(c.diff.Positions) < maxPositions {
		c.diff.Positions = append(c.diff.Positions, b.position)
	}
	if err := c.duplicate(ctx, b, a); err != nil {
		return err
	}
	if err := c.deadLetter(ctx, b, a); err != nil {
		return err
	}
	return c.order(ctx, b, a)
}

// count compares a table's rows at one position, and says whether they are the same.
func (d *TableDiff) count(t table, before, after []row) (same bool) {
	if slices.EqualFunc(before, after, row.equal) {
		return true
	}
	others := make(map[string]row, len(after))
	for _, r := range after {
		others[t.key(r)] = r
	}
	for _, r := range before {
		other, there := others[t.key(r)]
		switch {
		case !there:
			d.OnlyFrom++
		case !r.equal(other):
			d.Different++
		}
		delete(others, t.key(r))
	}
	d.OnlyTo += int64(len(others))
	return false
}

// key tells the rows of one position apart.
func (t table) key(r row) string {
	if t.many {
		return string(r[1])
	}
	return ""
}
