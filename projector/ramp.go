package projector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/inbox"
	"orderbox/internal/retry"
)

// Selection says which open dead letters are meant. The zero value means all of them.
type Selection struct {
	Reason string
	Place  *string    // a pointer of a violation, with * for the number of an entry; empty: of the message as a whole
	Since  *time.Time // received then or later
	Until  *time.Time // received before
	Text   string     // the payload holds its bytes
	// From and To bound the positions of the messages; 0 is no bound.
	From, To int64
	IDs      []int64 // positions; empty is no bound
}

// Outcome counts what becomes of dead letters that are retried. Each is in one number.
type Outcome struct {
	Orders     int64 `json:"orders"`
	Duplicates int64 `json:"duplicates"`
	Refused    int64 `json:"refused"` // again
	// LeftOut are not retried, for a replay would decide otherwise: it would make the message an order, and
	// a later message for the same order, which is one today, a conflict.
	LeftOut int64 `json:"left_out"`
}

// Retried is how many were.
func (o Outcome) Retried() int64 { return o.Orders + o.Duplicates + o.Refused }

func (o *Outcome) add(other Outcome) {
	o.Orders += other.Orders
	o.Duplicates += other.Duplicates
	o.Refused += other.Refused
	o.LeftOut += other.LeftOut
}

// ErrRefusedAgain says that a ramp stopped because too many were.
var ErrRefusedAgain = errors.New("too many were refused again")

// The sizes of a ramp's waves; what is left then goes in the largest.
var waves = []int{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}

// Retry retries dead letters in waves of growing size, lowest positions first, each after the verdicts of
// the one before: so a fix is proved on eight messages and not on fifty thousand. It stops with
// ErrRefusedAgain when more than the share maxRefused (0 to 1) of all it has retried was refused again. by and
// note are recorded with each. wave, if not nil, is called after each wave with what became of all so far.
//
// It needs a projector that runs: this one's Run, or that of another process. What was retried stays so
// whatever happens then.
func (p *Projector) Retry(ctx context.Context, by, note string, s Selection, maxRefused float64, wave func(Outcome)) (total Outcome, err error) {
	after := int64(0)
	for i := 0; ; i++ {
		letters, err := p.openLetters(ctx, s, after, waves[min(i, len(waves)-1)])
		if err != nil || len(letters) == 0 {
			return total, err
		}
		after = letters[len(letters)-1]
		outcome, err := p.retryWave(ctx, by, note, letters)
		if err != nil {
			return total, err
		}
		total.add(outcome)
		if wave != nil {
			wave(total)
		}
		if float64(total.Refused) > maxRefused*float64(total.Retried()) {
			return total, fmt.Errorf("%w: %d of %d", ErrRefusedAgain, total.Refused, total.Retried())
		}
	}
}

// Predict says what Retry would do now, without doing anything.
func (p *Projector) Predict(ctx context.Context, s Selection) (total Outcome, err error) {
	made := map[string]known{} // by those before
	for after := int64(0); ; {
		letters, err := p.openLetters(ctx, s, after, waves[len(waves)-1])
		if err != nil || len(letters) == 0 {
			return total, err
		}
		after = letters[len(letters)-1]
		_, outcome, err := p.predict(ctx, letters, made)
		if err != nil {
			return total, err
		}
		total.add(outcome)
	}
}

const openLettersSQL = `
select d.position
from dead_letters as d
where d.original is null
    and d.state = 'open'
    and d.position > $1
    and ($2 = '' or d.reason = $2)
    and ($3::text is null or exists (select from dead_letter_places as p where p.place = $3 and p.position = d.position))
    and ($4 = 0 or d.position >= $4)
    and ($5 = 0 or d.position <= $5)
    and (cardinality($6::bigint[]) = 0 or d.position = any($6))
    and ($7::timestamptz is null or d.received_at >= $7)
    and ($8::timestamptz is null or d.received_at < $8)
order by d.position
limit $9`

const holdingSQL = `
select position
from inbox
where position = any($1)
    and position($2::bytea in payload) > 0
order by position`

// maxSearched bounds the payloads that one statement looks through.
const maxSearched = 100

// openLetters returns the lowest positions behind one, at most limit.
func (p *Projector) openLetters(ctx context.Context, s Selection, after int64, limit int) (positions []int64, err error) {
	if s.Text == "" {
		return p.openCandidates(ctx, s, after, limit)
	}
	for len(positions) < limit {
		candidates, err := p.openCandidates(ctx, s, after, maxSearched)
		if err != nil || len(candidates) == 0 {
			return positions, err
		}
		after = candidates[len(candidates)-1]
		found, err := p.holding(ctx, candidates, s.Text)
		if err != nil {
			return nil, err
		}
		positions = append(positions, found...)
	}
	return positions[:limit], nil
}

// holding returns those of some positions whose payloads hold a text.
func (p *Projector) holding(ctx context.Context, positions []int64, text string) (found []int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := p.pool.Query(ctx, holdingSQL, positions, []byte(text))
	if err == nil {
		found, err = pgx.CollectRows(rows, pgx.RowTo[int64])
	}
	if err != nil {
		return nil, fmt.Errorf("search payloads: %w", err)
	}
	return found, nil
}

// openCandidates is openLetters without a look at the text.
func (p *Projector) openCandidates(ctx context.Context, s Selection, after int64, limit int) (positions []int64, err error) {
	err = p.inCurrent(ctx, func(ctx context.Context, tx pgx.Tx) error {
		ids := s.IDs
		if ids == nil {
			ids = []int64{}
		}
		rows, err := tx.Query(ctx, openLettersSQL, pgx.QueryExecModeDescribeExec, after, s.Reason, s.Place, s.From, s.To, ids, s.Since, s.Until, limit)
		if err == nil {
			positions, err = pgx.CollectRows(rows, pgx.RowTo[int64])
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list open dead letters: %w", err)
	}
	return positions, nil
}

// inCurrent runs f with the tables of the generation in service.
func (p *Projector) inCurrent(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return pgx.BeginTxFunc(ctx, p.pool, snapshot, func(tx pgx.Tx) error {
		current, err := findGeneration(ctx, tx, stateCurrent)
		if err != nil {
			return err
		}
		if current.name == "" {
			return ErrNothingInService
		}
		if _, err := tx.Exec(ctx, searchPathSQL, current.name); err != nil {
			return err
		}
		return f(ctx, tx)
	})
}

// Passing counts the payloads that the schema in force lets through. Whether there is an order with the same
// id is not asked.
func (p *Projector) Passing(ctx context.Context, payloads [][]byte) (passing int, err error) {
	rules, err := openRules(ctx, p.box, 1)
	if err != nil {
		return 0, err
	}
	entries := make([]inbox.Entry, len(payloads))
	for i := range payloads {
		entries[i].Payload = payloads[i]
	}
	for _, j := range rules[len(rules)-1:].judge(entries, max(1, allCores()/2)) {
		if j.dead == nil {
			passing++
		}
	}
	return passing, nil
}

// predict says which of some dead letters to retry and what becomes of them, by the schema in force. made
// are the orders that others make before, and gets those that these make.
func (p *Projector) predict(ctx context.Context, letters []int64, made map[string]known) (retry []int64, o Outcome, err error) {
	rules, err := openRules(ctx, p.box, 1)
	if err != nil {
		return nil, o, err
	}
	entries, err := p.box.At(ctx, letters)
	if err != nil {
		return nil, o, err
	}
	inForce := rules[len(rules)-1:]
	judged := inForce.judge(entries, allCores())
	var orders map[string]known
	err = p.inCurrent(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		orders, err = knownOrders(tx.Query(ctx, knownOrdersSQL, uidsOf(judged)))
		return err
	})
	if err != nil {
		return nil, o, err
	}
	for _, j := range judged {
		retry = append(retry, j.position)
		if j.dead != nil {
			o.Refused++
			continue
		}
		first, there := orders[j.order.OrderUID]
		if !there {
			first, there = made[j.order.OrderUID]
		}
		switch {
		case !there:
			made[j.order.OrderUID] = known{j.position, j.digest}
			o.Orders++
		case first.digest == j.digest:
			o.Duplicates++
		case first.position > j.position:
			retry = retry[:len(retry)-1]
			o.LeftOut++
		default:
			o.Refused++
		}
	}
	return retry, o, nil
}

// retryWave retries some dead letters and waits for the verdicts.
func (p *Projector) retryWave(ctx context.Context, by, note string, letters []int64) (o Outcome, err error) {
	letters, predicted, err := p.predict(ctx, letters, map[string]known{})
	if err != nil || len(letters) == 0 {
		return Outcome{LeftOut: predicted.LeftOut}, err
	}
	entries, err := p.box.Retry(ctx, by, note, letters)
	if err != nil {
		return o, err
	}
	if o, err = p.awaitVerdicts(ctx, entries); err != nil {
		return o, fmt.Errorf("wait for the verdicts of %d retries: %w", len(entries), err)
	}
	o.LeftOut = predicted.LeftOut
	return o, nil
}

const verdictsOfSQL = `
select (select position >= $1 from checkpoint),
    (select count(*) from orders where position = any($2)),
    (select count(*) from duplicates where position = any($2)),
    (select count(*) from dead_letters where position = any($2))`

func (p *Projector) awaitVerdicts(ctx context.Context, entries []int64) (o Outcome, err error) {
	last := slices.Max(entries)
	for {
		var done bool
		err := p.inCurrent(ctx, func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, verdictsOfSQL, last, entries).Scan(&done, &o.Orders, &o.Duplicates, &o.Refused)
		})
		if err != nil || done {
			return o, err
		}
		if err := retry.Wait(ctx, awaitPoll); err != nil {
			return o, err
		}
	}
}

// awaitPoll is short beside what a person waits for, and long beside what a projector takes.
const awaitPoll = 20 * time.Millisecond
