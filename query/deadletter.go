package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5"
)

// queryTimeout is how long somebody waits for the database at most.
const queryTimeout = 5 * time.Second

// deadLetter is a message that was refused, and why.
type deadLetter struct {
	ID            int64       `json:"id"` // the message's position in the log
	Reason        string      `json:"reason"`
	Sentence      string      `json:"sentence"`
	Help          string      `json:"help"`
	Violations    []violation `json:"violations"`
	SchemaVersion string      `json:"schema_version"` // that judged it
	// Outdated says that another schema judges by now, which may see it otherwise.
	Outdated bool   `json:"outdated"`
	State    string `json:"state"` // open, resolved or discarded
	// First is the position of the order that came first, when the reason is that it did.
	First      *int64    `json:"first,omitempty"`
	Source     string    `json:"source"`
	Channel    string    `json:"channel"`
	Sequence   int64     `json:"sequence"`
	StampedAt  time.Time `json:"stamped_at"`
	ReceivedAt time.Time `json:"received_at"`
	Size       int64     `json:"size"` // of the payload, in bytes
}

// deadLetterStory is a dead letter with what was decided about it.
type deadLetterStory struct {
	deadLetter
	Resolved *int64     `json:"resolved,omitempty"`  // the entry of the log that was not refused in its stead
	OrderUID *string    `json:"order_uid,omitempty"` // of the order that this entry made or was the same as
	History  []decision `json:"history"`             // oldest first
}

// violation is one thing that is wrong with a message.
type violation struct {
	Pointer string `json:"pointer"` // to the value, as a JSON Pointer
	Keyword string `json:"keyword"` // of the schema, that the value does not keep
	Message string `json:"message"`
}

// deadLettersJSON lists dead letters, newest first.
func (s *Server) deadLettersJSON(w http.ResponseWriter, r *http.Request) error {
	p, err := parseParams(r, "reason", "state", "place", "since", "until", "text", "limit", "after")
	if err != nil {
		return err
	}
	before, limit, err := p.page()
	if err != nil {
		return err
	}
	f, err := p.filter()
	if err != nil {
		return err
	}
	var list struct {
		DeadLetters []deadLetter `json:"dead_letters"`
		Next        *string      `json:"next"`
	}
	err = s.query(r.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		list.DeadLetters, list.Next, err = listDeadLetters(ctx, tx, f, before, limit)
		return err
	})
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, typeJSON, list)
}

// deadLetterJSON answers with one dead letter.
func (s *Server) deadLetterJSON(w http.ResponseWriter, r *http.Request) error {
	id, err := deadLetterID(r)
	if err != nil {
		return err
	}
	var letter deadLetterStory
	err = s.query(r.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		letter, err = readDeadLetter(ctx, tx, id)
		return err
	})
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, typeJSON, letter)
}

// deadLetterPayload answers with the message itself or, for ?entry=, with one that was entered in its stead:
// byte for byte, for nothing but saving.
func (s *Server) deadLetterPayload(w http.ResponseWriter, r *http.Request) error {
	id, err := deadLetterID(r)
	if err != nil {
		return err
	}
	p, err := parseParams(r, "entry")
	if err != nil {
		return err
	}
	position, name := id, strconv.FormatInt(id, 10)
	if p["entry"] != nil {
		if position, err = parsePosition(p.text("entry")); err != nil {
			return badRequest("The parameter entry is not a positive number.", "Take it from the history of the dead letter.")
		}
		name += "-" + p.text("entry")
	}
	done, err := s.takePlace(r.Context())
	if err != nil {
		return err
	}
	defer done()
	var payload []byte
	err = s.query(r.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		payload, err = readPayload(ctx, tx, id, position)
		return err
	})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Disposition", `attachment; filename="dead-letter-`+name+`.bin"`)
	return send(w, http.StatusOK, "application/octet-stream", payload)
}

// query runs f on the current generation's tables, the primary's where there is a standby, for at most queryTimeout.
func (s *Server) query(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return inGeneration(ctx, s.primary, func(tx pgx.Tx, _ generation) error { return f(ctx, tx) })
}

func deadLetterID(r *http.Request) (int64, error) {
	id, err := parsePosition(mux.Vars(r)["id"])
	if err != nil {
		return 0, badRequest("The id of a dead letter is a positive number.", "Take it from the list of dead letters.")
	}
	return id, nil
}

// What scanDeadLetter reads.
const deadLettersSQL = `
select d.position, d.reason, d.sentence, r.help, d.violations, d.schema_version,
    coalesce(d.schema_version <> (select version from schemas order by id desc limit 1), false),
    d.state, d.first,
    i.source, i.channel, i.sequence, i.stamped_at, i.received_at, octet_length(i.payload)
from dead_letters as d
join reasons as r on r.code = d.reason
join inbox as i on i.position = d.position`

const readDeadLettersSQL = deadLettersSQL + `
where d.position = any($1)
order by d.position desc`

// listDeadLetters returns at most limit dead letters below before, newest first, and the cursor of the next
// page; nil when there is none. A page that searches may be short, and empty, with more to come.
func listDeadLetters(ctx context.Context, tx pgx.Tx, f filter, before int64, limit int) ([]deadLetter, *string, error) {
	ids, goOn, err := f.page(ctx, tx, before, limit)
	if err != nil {
		return nil, nil, err
	}
	if len(ids) == 0 && f.Reason != "" {
		if err := checkReason(ctx, tx, f.Reason); err != nil {
			return nil, nil, err
		}
	}
	var next *string
	if goOn > 0 {
		next = cursor(goOn)
	}
	rows, err := tx.Query(ctx, readDeadLettersSQL, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("list dead letters: %w", err)
	}
	letters, err := pgx.CollectRows(rows, scanDeadLetter)
	if err != nil {
		return nil, nil, fmt.Errorf("list dead letters: %w", err)
	}
	return letters, next, nil
}

// A retry or an amendment that was refused is shown with its original alone.
const readDeadLetterSQL = deadLettersSQL + `
where d.position = $1
    and d.original is null`

const readResolutionSQL = `
select d.resolved, o.order_uid
from dead_letters as d
left join duplicates as u on u.position = d.resolved
left join orders as o on o.position = coalesce(u.first, d.resolved)
where d.position = $1`

// readDeadLetter returns one dead letter with its history, or a problem when it is none.
func readDeadLetter(ctx context.Context, tx pgx.Tx, id int64) (story deadLetterStory, err error) {
	rows, err := tx.Query(ctx, readDeadLetterSQL, id)
	if err == nil {
		story.deadLetter, err = pgx.CollectExactlyOneRow(rows, scanDeadLetter)
	}
	if err != nil {
		return story, explainMissing(ctx, tx, id, err)
	}
	if err := tx.QueryRow(ctx, readResolutionSQL, id).Scan(&story.Resolved, &story.OrderUID); err != nil {
		return story, fmt.Errorf("read what resolved dead letter %d: %w", id, err)
	}
	story.History, err = readHistory(ctx, tx, id)
	return story, err
}

func scanDeadLetter(row pgx.CollectableRow) (d deadLetter, err error) {
	err = row.Scan(&d.ID, &d.Reason, &d.Sentence, &d.Help, &d.Violations, &d.SchemaVersion, &d.Outdated, &d.State, &d.First,
		&d.Source, &d.Channel, &d.Sequence, &d.StampedAt, &d.ReceivedAt, &d.Size)
	d.StampedAt, d.ReceivedAt = d.StampedAt.UTC(), d.ReceivedAt.UTC()
	return d, err
}

// The position is the dead letter's own, or that of an entry about it.
const readPayloadSQL = `
select i.payload
from dead_letters as d
join inbox as i on i.position = $2 and coalesce(i.original, i.position) = d.position
where d.position = $1
    and d.original is null`

func readPayload(ctx context.Context, tx pgx.Tx, id, position int64) (payload []byte, err error) {
	err = tx.QueryRow(ctx, readPayloadSQL, id, position).Scan(&payload)
	return payload, explainMissing(ctx, tx, id, err)
}

const wasDetachedSQL = `
select exists (
    select
    from dead_letters as l
    join detached as d on l.position between d.first and d.last
    where l.position = $1
        and not exists (select from inbox as i where i.position = l.position)
)`

func explainMissing(ctx context.Context, tx pgx.Tx, id int64, err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		detached := false
		if err := tx.QueryRow(ctx, wasDetachedSQL, id).Scan(&detached); err != nil {
			return fmt.Errorf("read dead letter %d: %w", id, err)
		}
		if detached {
			return errDetached
		}
		return notFound("No dead letter has this id.", "Take it from the list of dead letters. After a replay, some may be orders.")
	}
	if err != nil {
		return fmt.Errorf("read dead letter %d: %w", id, err)
	}
	return nil
}

// errDetached is about a message that is in an archive.
var errDetached = notFound("Its message was taken out of the log with its month.", "Run orderbox archive, which names the file, and then orderbox restore.")

const listReasonsSQL = `
select code
from reasons
order by code`

func listReasons(ctx context.Context, tx pgx.Tx) ([]string, error) {
	rows, err := tx.Query(ctx, listReasonsSQL)
	if err != nil {
		return nil, fmt.Errorf("list reasons: %w", err)
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list reasons: %w", err)
	}
	return known, nil
}

// checkReason returns a problem when there is no such reason: an empty list would pass for good news.
func checkReason(ctx context.Context, tx pgx.Tx, reason string) error {
	known, err := listReasons(ctx, tx)
	if err != nil {
		return err
	}
	if slices.Contains(known, reason) {
		return nil
	}
	return badRequest("The parameter reason is not one of the reasons.", "Use one of these: "+strings.Join(known, ", ")+".")
}
