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
	SchemaVersion string      `json:"schema_version"`
	// First is the position of the order that came first, when the reason is that it did.
	First      *int64    `json:"first,omitempty"`
	Source     string    `json:"source"`
	Channel    string    `json:"channel"`
	Sequence   int64     `json:"sequence"`
	StampedAt  time.Time `json:"stamped_at"`
	ReceivedAt time.Time `json:"received_at"`
	Size       int64     `json:"size"` // of the payload, in bytes
}

// violation is one thing that is wrong with a message.
type violation struct {
	Pointer string `json:"pointer"` // to the value, as a JSON Pointer
	Keyword string `json:"keyword"` // of the schema, that the value does not keep
	Message string `json:"message"`
}

// deadLettersJSON lists dead letters, newest first.
func (s *Server) deadLettersJSON(w http.ResponseWriter, r *http.Request) error {
	p, err := parseParams(r, "reason", "limit", "after")
	if err != nil {
		return err
	}
	before, limit, err := p.page()
	if err != nil {
		return err
	}
	reason := p.text("reason")
	var letters []deadLetter
	err = s.query(r.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		if letters, err = listDeadLetters(ctx, tx, reason, before, limit+1); err != nil || len(letters) > 0 || reason == "" {
			return err
		}
		return checkReason(ctx, tx, reason)
	})
	if err != nil {
		return err
	}
	more := len(letters) > limit
	letters = letters[:min(limit, len(letters))]
	var next *string
	if more {
		next = cursor(letters[limit-1].ID)
	}
	return sendJSON(w, http.StatusOK, typeJSON, struct {
		DeadLetters []deadLetter `json:"dead_letters"`
		Next        *string      `json:"next"`
	}{letters, next})
}

// deadLetterJSON answers with one dead letter.
func (s *Server) deadLetterJSON(w http.ResponseWriter, r *http.Request) error {
	id, err := deadLetterID(r)
	if err != nil {
		return err
	}
	var letter deadLetter
	err = s.query(r.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		letter, err = readDeadLetter(ctx, tx, id)
		return err
	})
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, typeJSON, letter)
}

// deadLetterPayload answers with the message itself, byte for byte, for nothing but saving.
func (s *Server) deadLetterPayload(w http.ResponseWriter, r *http.Request) error {
	id, err := deadLetterID(r)
	if err != nil {
		return err
	}
	var payload []byte
	err = s.query(r.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		payload, err = readPayload(ctx, tx, id)
		return err
	})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Disposition", `attachment; filename="dead-letter-`+strconv.FormatInt(id, 10)+`.bin"`)
	return send(w, http.StatusOK, "application/octet-stream", payload)
}

// query runs f on the current generation's tables, for at most queryTimeout.
func (s *Server) query(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return inGeneration(ctx, s.pool, func(tx pgx.Tx, _ generation) error { return f(ctx, tx) })
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
select d.position, d.reason, d.sentence, r.help, d.violations, d.schema_version, d.first,
    i.source, i.channel, i.sequence, i.stamped_at, i.received_at, octet_length(i.payload)
from dead_letters as d
join reasons as r on r.code = d.reason
join inbox as i on i.position = d.position`

const listDeadLettersSQL = deadLettersSQL + `
where ($1 = '' or d.reason = $1) and d.position < $2
order by d.position desc
limit $3`

func listDeadLetters(ctx context.Context, tx pgx.Tx, reason string, before int64, limit int) ([]deadLetter, error) {
	// Planned for these very parameters: with a reason by its index, without one by the primary key.
	rows, err := tx.Query(ctx, listDeadLettersSQL, pgx.QueryExecModeDescribeExec, reason, before, limit)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	letters, err := pgx.CollectRows(rows, scanDeadLetter)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return letters, nil
}

const readDeadLetterSQL = deadLettersSQL + `
where d.position = $1`

func readDeadLetter(ctx context.Context, tx pgx.Tx, id int64) (deadLetter, error) {
	rows, err := tx.Query(ctx, readDeadLetterSQL, id)
	if err != nil {
		return deadLetter{}, fmt.Errorf("read dead letter %d: %w", id, err)
	}
	letter, err := pgx.CollectExactlyOneRow(rows, scanDeadLetter)
	return letter, explainMissing(id, err)
}

func scanDeadLetter(row pgx.CollectableRow) (d deadLetter, err error) {
	err = row.Scan(&d.ID, &d.Reason, &d.Sentence, &d.Help, &d.Violations, &d.SchemaVersion, &d.First,
		&d.Source, &d.Channel, &d.Sequence, &d.StampedAt, &d.ReceivedAt, &d.Size)
	d.StampedAt, d.ReceivedAt = d.StampedAt.UTC(), d.ReceivedAt.UTC()
	return d, err
}

const readPayloadSQL = `
select i.payload
from dead_letters as d
join inbox as i on i.position = d.position
where d.position = $1`

func readPayload(ctx context.Context, tx pgx.Tx, id int64) (payload []byte, err error) {
	err = tx.QueryRow(ctx, readPayloadSQL, id).Scan(&payload)
	return payload, explainMissing(id, err)
}

func explainMissing(id int64, err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return notFound("No dead letter has this id.", "Take it from the list of dead letters. After a replay, some may be orders.")
	}
	if err != nil {
		return fmt.Errorf("read dead letter %d: %w", id, err)
	}
	return nil
}

const listReasonsSQL = `
select code
from reasons
order by code`

// checkReason returns a problem when there is no such reason: an empty list would pass for good news.
func checkReason(ctx context.Context, tx pgx.Tx, reason string) error {
	rows, err := tx.Query(ctx, listReasonsSQL)
	if err != nil {
		return fmt.Errorf("list reasons: %w", err)
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list reasons: %w", err)
	}
	if slices.Contains(known, reason) {
		return nil
	}
	return badRequest("The parameter reason is not one of the reasons.", "Use one of these: "+strings.Join(known, ", ")+".")
}
