package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5"
)

const (
	// maxPayload is the largest amendment that an Operator takes, maxRequest the largest of other bodies.
	maxPayload = 1 << 20
	maxRequest = 1 << 20
	// maxNote is the longest note that an Operator takes, in bytes.
	maxNote = 4000
)

// decideJSON returns the handler of one kind of decision about one dead letter. It answers when the decision
// is recorded; the projector applies it, which the history tells.
func (s *Server) decideJSON(kind string) func(http.ResponseWriter, *http.Request, string) error {
	return func(w http.ResponseWriter, r *http.Request, by string) error {
		id, err := deadLetterID(r)
		if err != nil {
			return err
		}
		note, payload, err := readDecision(w, r, kind)
		if err != nil {
			return err
		}
		entry, err := s.decide(r.Context(), kind, by, note, id, payload)
		if err != nil {
			return err
		}
		return sendJSON(w, http.StatusAccepted, typeJSON, struct {
			Decision string `json:"decision"`
			Entry    int64  `json:"entry,omitempty"` // of the retry or the amendment, in the log
		}{kind, entry})
	}
}

// decide takes a decision about one dead letter, in the name of an operator, unless it makes no sense as
// things stand; the payload is that of an amendment. It returns where a retry or an amendment was entered.
//
// How things stand is read before and may have changed when the decision is recorded. That does no harm: a
// second retry makes a duplicate, and a discard of what was resolved changes no state.
func (s *Server) decide(ctx context.Context, kind, by, note string, id int64, payload []byte) (entry int64, err error) {
	err = s.query(ctx, func(ctx context.Context, tx pgx.Tx) error {
		letters, err := readStandings(ctx, tx, kind, []int64{id})
		if err == nil && len(letters) == 0 {
			err = explainMissing(ctx, tx, id, pgx.ErrNoRows)
		}
		if err != nil {
			return err
		}
		return letters[0].objection(kind)
	})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if kind == kindAmend {
		entry, err = s.amend(ctx, by, note, id, payload)
	} else {
		entry, err = s.pass(ctx, kind, by, note, []int64{id})
	}
	if err != nil {
		return 0, fmt.Errorf("decide about dead letter %d: %w", id, err)
	}
	return entry, nil
}

func (s *Server) amend(ctx context.Context, by, note string, id int64, payload []byte) (entry int64, err error) {
	entries, err := s.o.Operator.Amend(ctx, by, note, []int64{id}, [][]byte{payload})
	if err != nil {
		return 0, err
	}
	return entries[0], nil
}

// pass passes a decision about dead letters on, and returns where the first was entered, if anywhere.
func (s *Server) pass(ctx context.Context, kind, by, note string, ids []int64) (entry int64, err error) {
	switch kind {
	case kindRetry:
		entries, err := s.o.Operator.Retry(ctx, by, note, ids)
		if err != nil {
			return 0, err
		}
		return entries[0], nil
	case kindDiscard:
		return 0, s.o.Operator.Discard(ctx, by, note, ids)
	case kindReopen:
		return 0, s.o.Operator.Reopen(ctx, by, note, ids)
	}
	return 0, fmt.Errorf("%s is no decision about several", kind)
}

// readDecision returns the note of a decision and, of an amendment, the payload: that is the body itself,
// so that no byte of it need be encoded, and its note is in the address.
func readDecision(w http.ResponseWriter, r *http.Request, kind string) (note string, payload []byte, err error) {
	if kind != kindAmend {
		if _, err := parseParams(r); err != nil {
			return "", nil, err
		}
		var request struct {
			Note string `json:"note"`
		}
		if err := readJSON(w, r, &request); err != nil {
			return "", nil, err
		}
		return request.Note, nil, checkNote(kind, request.Note)
	}
	p, err := parseParams(r, "note")
	if err != nil {
		return "", nil, err
	}
	// What a form or a script sends by default has been encoded, or has lost its line breaks.
	switch sent, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); sent {
	case "application/octet-stream", typeJSON:
	default:
		return "", nil, newProblem(http.StatusUnsupportedMediaType, "media-type", "The body is not of a kind that can be an amendment", "",
			"Send the corrected message itself as application/octet-stream or application/json, such as with: curl --data-binary @FILE.")
	}
	if payload, err = readBody(w, r, maxPayload); err != nil {
		return "", nil, err
	}
	return p.text("note"), payload, checkNote(kindAmend, p.text("note"))
}

func checkNote(kind, note string) error {
	switch {
	case kind == kindDiscard && strings.TrimSpace(note) == "":
		return badRequest("A discard needs a note.", `Say why nobody need look at this any more: {"note": "…"}.`)
	case len(note) > maxNote:
		return badRequest(fmt.Sprintf("The note is longer than %d bytes.", maxNote), "Shorten it.")
	case !isText(note):
		return badRequest("The note holds characters that no text here can.", "Send it as UTF-8, without U+0000.")
	}
	return nil
}

// readJSON reads a body that is one JSON object, or nothing for an empty one. A name that is not known is
// refused, so that a misspelt filter does not pass for none.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	text, err := readBody(w, r, maxRequest)
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if dec.Decode(into) == nil && dec.Decode(new(json.RawMessage)) == io.EOF {
		return nil
	}
	return badRequest("The body is not the JSON object that is wanted here, or has a field that is not known.", "See /openapi.yaml, or the README.")
}

func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, newProblem(http.StatusRequestEntityTooLarge, "too-large", "The body is too large",
			fmt.Sprintf("It has more than %d bytes.", limit), "Send less.")
	}
	if err != nil {
		return nil, badRequest("The body ends too early.", "Send it again.")
	}
	return text, nil
}
