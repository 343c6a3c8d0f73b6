package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Balance is what came in and what became of it, in messages.
// Received = Orders + Duplicates + DeadLetters + Pending, always.
type Balance struct {
	Received    int64 `json:"received"`
	Orders      int64 `json:"orders"`
	Duplicates  int64 `json:"duplicates"`
	DeadLetters int64 `json:"dead_letters"`
	// Pending are in the inbox and not yet judged.
	Pending int64 `json:"pending"`
	// Checkpoint is the position up to which the log is projected, Head that of its newest message; 0 when
	// there is none.
	Checkpoint int64 `json:"checkpoint"`
	Head       int64 `json:"head"`
}

// Report is the full count.
type Report struct {
	Balance
	// Generation is the one in service; empty when there is none yet, and everything is pending.
	Generation string `json:"generation"`
	// BuiltWith names the tables and the order schema that the generation was built with.
	BuiltWith string `json:"built_with"`
	// Detached are those of Received that were taken out of the log on purpose; what became of them stays.
	Detached int64 `json:"detached"`
	// Epochs are the brokers' counts, by channel and then as they came: more than one of a channel when its
	// broker lost its store and counted anew.
	Epochs []Epoch `json:"epochs"`
	// Gaps is how many of the brokers' messages never came.
	Gaps int64 `json:"gaps"`
	// GapRanges are the first twenty runs of them.
	GapRanges []GapRange `json:"gap_ranges"`
	// Broken is empty when the laws hold.
	Broken []Finding `json:"broken"`
}

// Finding is one way in which a law does not hold.
type Finding struct {
	Law   int    `json:"law"`
	What  string `json:"what"`
	Count int64  `json:"count"`
	// Examples are up to five positions in the log, lowest first; none when it is not about messages.
	Examples []int64 `json:"examples"`
}

const examples = 5

// Stats is the balance at little cost: it trusts the totals that the projector keeps and counts only
// what is pending. So Received is a sum and not a count; Check is what tells whether the sum is true.
func Stats(ctx context.Context, pool *pgxpool.Pool) (Balance, error) {
	var b Balance
	err := snapshot(ctx, pool, func(tx pgx.Tx, g generation) (err error) {
		b, err = kept(ctx, tx, g)
		return err
	})
	if err != nil {
		return Balance{}, fmt.Errorf("read the balance: %w", err)
	}
	return b, nil
}

// Check counts everything and checks the laws. It reads the whole log and the whole projection, in the
// order of their indexes and in bounded memory: a few seconds for a million messages. An error says that
// it could not be checked; what does not hold is in the report.
func Check(ctx context.Context, pool *pgxpool.Pool) (Report, error) {
	var r Report
	err := snapshot(ctx, pool, func(tx pgx.Tx, g generation) error {
		r = Report{Generation: g.Name, BuiltWith: g.Fingerprint, Broken: []Finding{}}
		return check(ctx, tx, g, &r)
	})
	if err != nil {
		return Report{}, fmt.Errorf("check the laws: %w", err)
	}
	return r, nil
}

// Streaming along the indexes needs no memory that grows with the log, as hashing does.
const streamSQL = `
select set_config('enable_hashjoin', 'off', true),
    set_config('enable_hashagg', 'off', true),
    set_config('jit', 'off', true),
    set_config('work_mem', '64MB', true)`

// A generation of an earlier version has no counts, until the next one takes its place.
const hasCountsSQL = `select to_regclass('dead_letter_counts') is not null`

func check(ctx context.Context, tx pgx.Tx, g generation, r *Report) error {
	if _, err := tx.Exec(ctx, streamSQL); err != nil {
		return err
	}
	laws := slices.Concat(inboxLaws(), privilegeLaws(), decisionLaws(), generationLaws())
	if g.Name == "" {
		var err error
		if r.Balance, err = kept(ctx, tx, g); err != nil {
			return err
		}
	} else {
		laws = slices.Concat(laws, projectionLaws(), deadLetterLaws())
		var counted bool
		if err := tx.QueryRow(ctx, hasCountsSQL).Scan(&counted); err != nil {
			return err
		}
		if counted {
			laws = slices.Concat(laws, countLaws())
		}
		if err := count(ctx, tx, r); err != nil {
			return err
		}
	}
	for _, l := range laws {
		findings, err := l.find(ctx, tx)
		if err != nil {
			return fmt.Errorf("law %d: %w", l.number, err)
		}
		r.Broken = append(r.Broken, findings...)
	}
	return countGaps(ctx, tx, r)
}

// generation is a row of generations; without a name there is none in service.
type generation struct {
	Name, Fingerprint string
}

const currentGenerationSQL = `
select name, fingerprint
from generations
where state = 'current'`

const enterGenerationSQL = `select set_config('search_path', quote_ident($1) || ', public', true)`

// snapshot runs f in a read-only transaction that sees one state of everything, with the current
// generation first in the search path.
func snapshot(ctx context.Context, pool *pgxpool.Pool, f func(pgx.Tx, generation) error) error {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		err := inSnapshot(ctx, pool, func(tx pgx.Tx) error {
			var g generation
			err := tx.QueryRow(ctx, currentGenerationSQL).Scan(&g.Name, &g.Fingerprint)
			if errors.Is(err, pgx.ErrNoRows) {
				return f(tx, generation{})
			}
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, enterGenerationSQL, g.Name); err != nil {
				return err
			}
			return f(tx, g)
		})
		// A replay may drop the generation between our finding and reading it: the next one is there then.
		pgErr, ok := errors.AsType[*pgconn.PgError](err)
		if undefinedTable := ok && pgErr.Code == "42P01"; !undefinedTable || attempt == attempts {
			return err
		}
	}
}

// inSnapshot runs f in a read-only transaction that sees one state of everything.
func inSnapshot(ctx context.Context, pool *pgxpool.Pool, f func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, f)
}
