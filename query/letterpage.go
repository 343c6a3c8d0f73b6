package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/static"
)

// letterView is what pages/letter.html reads.
type letterView struct {
	frame
	ID                            int64
	Link, Save                    string       // of the page, and of the message for saving
	Said                          *static.Text // what has just been done
	Reason, State, Sentence, Help string
	Meaning                       *static.Text // of the reason, where the sentence is not in the reader's language
	Schema, Source, Channel       string
	Size                          static.Bytes
	Sequence                      int64
	Older                         bool // than the schema in force
	Stamped, Received             moment
	Violations                    []violation
	First, FirstLink              string // the order that a conflict lost to
	Resolved                      bool
	Order, OrderLink              string // what it was resolved to
	Payload                       payloadView
	Begun                         bool // an amendment that was refused: amending goes on from there
	History                       []historyLine
	Can                           actions
}

// actions are what can be done in a state.
type actions struct{ Retry, Amend, Discard, Reopen bool }

// Any says whether anything can be done at all.
func (a actions) Any() bool { return a != actions{} }

// historyLine is a decision and what became of it.
type historyLine struct {
	What           *static.Text
	By, Note       string
	At             moment
	Outcome        *static.Text
	Link, LinkText string // the order that it made or was the same as
	Sentence       string // why it was refused again
	PayloadLink    string // what was entered
}

// letterPage shows one dead letter, with its message and what can be decided about it.
func (s *Server) letterPage(w http.ResponseWriter, r *http.Request) error {
	id, err := deadLetterID(r)
	if err != nil {
		return err
	}
	p, err := parseParams(r, "done")
	if err != nil {
		return err
	}
	var story deadLetterStory
	var payload, amended []byte
	var first string
	err = s.query(r.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		if story, err = readDeadLetter(ctx, tx, id); err != nil {
			return err
		}
		if payload, err = readPayload(ctx, tx, id, id); err != nil {
			return err
		}
		if entry := story.refusedAmendment(); entry != nil {
			if amended, err = readPayload(ctx, tx, id, *entry); err != nil {
				return err
			}
		}
		if story.First == nil {
			return nil
		}
		first, err = readOrderUID(ctx, tx, *story.First)
		return err
	})
	if err != nil {
		return err
	}
	view := newLetterView(story, payload)
	if amended != nil {
		began := newPayloadView(amended, "", nil)
		view.Payload.Editable, view.Payload.IsText, view.Begun = began.Editable, began.IsText, true
	}
	view.frame = s.frame(r, static.Say("Dead letter %s", strconv.FormatInt(id, 10)))
	view.Meaning = s.language(r).Meaning(story.Reason)
	if first != "" {
		view.First, view.FirstLink = first, orderLink(first)
	}
	if s.o.Operator != nil {
		view.Can = possible(story.State)
	}
	if n := len(story.History); n > 0 && p.text("done") == story.History[n-1].Kind {
		view.Said = said(story.History[n-1])
	}
	return s.writePage(w, r, http.StatusOK, "letter", view)
}

func newLetterView(d deadLetterStory, payload []byte) letterView {
	v := letterView{
		ID: d.ID, Link: letterLink(d.ID), Save: "/api/v1" + letterLink(d.ID) + "/payload",
		Reason: d.Reason, State: d.State, Sentence: d.Sentence, Help: d.Help,
		Schema: d.SchemaVersion, Source: d.Source, Channel: d.Channel, Size: static.Bytes(d.Size), Sequence: d.Sequence,
		Older:      d.Outdated,
		Stamped:    newMoment(d.StampedAt, d.StampedAt.Format(time.RFC3339Nano)),
		Received:   newMoment(d.ReceivedAt, d.ReceivedAt.Format(time.RFC3339Nano)),
		Violations: d.Violations, Resolved: d.State == stateResolved,
		Payload: newPayloadView(payload, d.Sentence, d.Violations),
	}
	if d.OrderUID != nil {
		v.Order, v.OrderLink = *d.OrderUID, orderLink(*d.OrderUID)
	}
	for _, h := range d.History {
		v.History = append(v.History, newHistoryLine(d.ID, h))
	}
	return v
}

// refusedAmendment returns the entry of the last amendment when it was refused, so that who amended need not
// begin anew; nil when there is none.
func (d deadLetterStory) refusedAmendment() *int64 {
	for _, h := range slices.Backward(d.History) {
		if h.Kind == kindAmend {
			if h.Outcome == outcomeDeadLetter {
				return h.Entry
			}
			return nil
		}
	}
	return nil
}

// possible says what can be done about a dead letter in a state, or about many of any state.
func possible(state string) actions {
	switch state {
	case stateOpen:
		return actions{Retry: true, Amend: true, Discard: true}
	case stateDiscarded:
		return actions{Reopen: true}
	case stateAny:
		return actions{Retry: true, Amend: true, Discard: true, Reopen: true}
	}
	return actions{}
}

// done is how a decision is called afterwards.
var done = map[string]*static.Text{
	kindRetry: static.Say("Retried"), kindAmend: static.Say("Amended"), kindDiscard: static.Say("Discarded"), kindReopen: static.Say("Reopened"),
}

func newHistoryLine(id int64, h decision) historyLine {
	line := historyLine{What: done[h.Kind], By: h.By, Note: h.Note, At: newMoment(h.At, h.At.Format(time.RFC3339Nano))}
	switch h.Outcome {
	case outcomePending:
		line.Outcome = static.Say("Not judged yet")
	case outcomeOrder:
		line.Outcome = static.Say("It made an order")
	case outcomeDuplicate:
		line.Outcome = static.Say("It is the same as an order that was there")
	case outcomeDeadLetter:
		line.Outcome = static.Say("It was refused again.")
	}
	if h.OrderUID != nil {
		line.Link, line.LinkText = orderLink(*h.OrderUID), *h.OrderUID
	}
	if h.Sentence != nil {
		line.Sentence = *h.Sentence
	}
	if h.Kind == kindAmend && h.Entry != nil {
		line.PayloadLink = fmt.Sprintf("/api/v1%s/payload?entry=%d", letterLink(id), *h.Entry)
	}
	return line
}

const readOrderUIDSQL = `
select order_uid
from orders
where position = $1`

// readOrderUID returns the id of the order that a message made; empty when it made none.
func readOrderUID(ctx context.Context, tx pgx.Tx, position int64) (uid string, err error) {
	err = tx.QueryRow(ctx, readOrderUIDSQL, position).Scan(&uid)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the order of message %d: %w", position, err)
	}
	return uid, nil
}
