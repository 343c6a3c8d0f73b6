package main

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// deadLettersCommand is what an operator does about messages that were refused, each in a file of its own.
type deadLettersCommand struct {
	List      listLettersCommand  `cmd:"" help:"List them, newest first."`
	Groups    groupLettersCommand `cmd:"" help:"Count them by what is wrong with them."`
	Show      showLetterCommand   `cmd:"" help:"Say everything about one: what is wrong, where it came from, what was decided."`
	Payload   payloadCommand      `cmd:"" help:"Print the message itself, byte for byte."`
	Reproduce reproduceCommand    `cmd:"" help:"Save a Go test that fails as the message does, with made-up data."`
	Retry     retryCommand        `cmd:"" help:"Judge them once more, by the schema of now."`
	Amend     amendCommand        `cmd:"" help:"Say what a message should have been, and have that judged."`
	Discard   discardCommand      `cmd:"" help:"Say that they need nobody's attention any more, and why."`
	Reopen    reopenCommand       `cmd:"" help:"Take discards back."`
}

// Help is the text behind --help.
func (deadLettersCommand) Help() string {
	return `Asks the running service, so that it says what the inspector's pages say. Messages are shown where they are
asked for alone ('payload'), for they hold people's names and addresses.

Examples:
  orderbox dead-letters groups
  orderbox dead-letters list --reason invalid --place '/items/*/price' --since 24h
  orderbox dead-letters retry --reason invalid
  orderbox dead-letters payload 17 > 17.json; edit 17.json; orderbox dead-letters amend 17 17.json`
}

const deadLettersPath = "/api/v1/dead-letters"

func letterPath(id int64) string { return deadLettersPath + "/" + strconv.FormatInt(id, 10) }

// filterFlags choose among dead letters. The service knows what there is to choose from, and says so of
// what it does not know.
type filterFlags struct {
	Reason string `help:"Those with this reason: malformed, invalid, conflict, refused or unjudged." placeholder:"REASON"`
	State  string `help:"Those in this state: open, resolved, discarded or any. Default: open." placeholder:"STATE"`
	Place  place  `help:"Those that are wrong there: a JSON Pointer, with * for the number of an entry; - is the message as a whole." placeholder:"POINTER"`
	Since  moment `help:"Those received then or later: a date, a time, or how long ago, such as 90m or 24h." placeholder:"TIME"`
	Until  moment `help:"Those received before then." placeholder:"TIME"`
	Text   string `help:"Those whose messages hold this text." placeholder:"TEXT"`
}

// filter is filterFlags as the service takes them.
type filter struct {
	Reason string     `json:"reason,omitempty"`
	State  string     `json:"state,omitempty"`
	Place  *string    `json:"place,omitempty"`
	Since  *time.Time `json:"since,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
	Text   string     `json:"text,omitempty"`
}

func (f filterFlags) filter() filter {
	return filter{Reason: f.Reason, State: f.State, Place: f.Place.pointer, Since: f.Since.at, Until: f.Until.at, Text: f.Text}
}

// query is the filter as parameters of an address.
func (f filterFlags) query() url.Values {
	query := url.Values{}
	for name, value := range map[string]string{"reason": f.Reason, "state": f.State, "text": f.Text} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if f.Place.pointer != nil {
		query.Set("place", *f.Place.pointer)
	}
	for name, m := range map[string]moment{"since": f.Since, "until": f.Until} {
		if m.at != nil {
			query.Set(name, m.at.Format(time.RFC3339Nano))
		}
	}
	return query
}

// wholeMessage is how the place is written that has an empty JSON Pointer.
const wholeMessage = "-"

// place is where something is wrong, or nothing that was given.
type place struct{ pointer *string }

// UnmarshalText reads a JSON Pointer, or - for the message as a whole. The service checks it.
func (p *place) UnmarshalText(text []byte) error {
	pointer := string(text)
	if pointer == wholeMessage {
		pointer = ""
	}
	p.pointer = &pointer
	return nil
}

// moment is a point in time, or nothing that was given.
type moment struct{ at *time.Time }

// UnmarshalText reads 2026-11-24, 2026-11-24T12:00:00Z, and 24h, which is how long ago.
func (m *moment) UnmarshalText(text []byte) error {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, string(text)); err == nil {
			m.at = &at
			return nil
		}
	}
	ago, err := time.ParseDuration(string(text))
	if err != nil || ago < 0 {
		return errors.New("a time is 2026-11-24 or 2026-11-24T12:00:00Z, both UTC, or how long ago, such as 90m or 24h")
	}
	at := time.Now().UTC().Add(-ago)
	m.at = &at
	return nil
}

// letter is a dead letter as the service tells of it. What it tells of one alone is empty in a list.
type letter struct {
	ID            int64
	State         string
	Reason        string
	Sentence      string
	Help          string
	Violations    []violation
	SchemaVersion string `json:"schema_version"`
	Outdated      bool
	First         *int64
	Source        string
	Channel       string
	Sequence      int64
	StampedAt     time.Time `json:"stamped_at"`
	ReceivedAt    time.Time `json:"received_at"`
	Size          int64
	Resolved      *int64
	OrderUID      string `json:"order_uid"`
	History       []pastDecision
}

type violation struct{ Pointer, Keyword, Message string }

// pastDecision is what an operator decided about a dead letter, and what became of it.
type pastDecision struct {
	At       time.Time
	By       string
	Kind     string
	Note     string
	Entry    int64
	Outcome  string
	Sentence string
	OrderUID string `json:"order_uid"`
}

// where is the place of a violation.
func (v violation) where() string {
	if v.Pointer == "" {
		return wholeMessage
	}
	return plain(v.Pointer)
}

// cut shortens a text to a width in characters; 0 is no limit.
func cut(text string, width int) string {
	runes := []rune(text)
	if width <= 0 || len(runes) <= width {
		return text
	}
	return string(runes[:width-1]) + "…"
}

// letters says how many they are.
func letters(n int64) string {
	if n == 1 {
		return "1 dead letter"
	}
	return fmt.Sprintf("%d dead letters", n)
}
