package query

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// The states of a dead letter.
const (
	stateOpen      = "open"
	stateResolved  = "resolved"
	stateDiscarded = "discarded"
	stateAny       = "any" // in a filter
)

var states = []string{stateOpen, stateResolved, stateDiscarded, stateAny}

const (
	// searchCandidates and searchBytes bound what one search looks through.
	searchCandidates = 2000
	searchBytes      = 64 << 20
	maxSearchText    = 1000 // bytes
)

// filter says which dead letters are meant: those for which all holds that is given. Of retries and
// amendments that were refused, it means none.
type filter struct {
	Reason string     `json:"reason"`
	State  string     `json:"state"`
	Place  *string    `json:"place"` // empty: the message as a whole
	Since  *time.Time `json:"since"` // received then or later
	Until  *time.Time `json:"until"` // received before
	Text   string     `json:"text"`  // the payload holds its bytes
	IDs    []int64    `json:"ids"`
}

// check returns a problem when no dead letter could be meant.
func (f filter) check() error {
	switch {
	case !slices.Contains(states, f.State):
		return badRequest("The state is not one of the states.", "Use one of these: "+strings.Join(states, ", ")+".")
	case f.Place != nil && *f.Place != "" && !strings.HasPrefix(*f.Place, "/"):
		return badRequest("The place is no JSON Pointer.", "Begin it with a slash and write * for the number of an entry, such as /items/*/price; the message as a whole is empty.")
	case f.Since != nil && f.Until != nil && !f.Since.Before(*f.Until):
		return badRequest("The time since is not before the time until.", "Swap them, or leave one out.")
	case len(f.Text) > maxSearchText:
		return badRequest(fmt.Sprintf("The text is longer than %d bytes.", maxSearchText), "A part of it will do.")
	case !isText(f.Reason) || !isText(f.Text) || f.Place != nil && !isText(*f.Place):
		return badRequest("The filter holds characters that no text here can.", "Send it as UTF-8, without U+0000.")
	}
	return nil
}

// filter reads the parameters that say which dead letters are meant.
func (p params) filter() (f filter, err error) {
	f = filter{Reason: p.text("reason"), State: p.text("state"), Text: p.text("text")}
	if f.State == "" {
		f.State = stateOpen
	}
	if p["place"] != nil {
		place := p.text("place")
		f.Place = &place
	}
	for name, to := range map[string]**time.Time{"since": &f.Since, "until": &f.Until} {
		if p[name] == nil {
			continue
		}
		at, err := time.Parse(time.RFC3339, p.text(name))
		if err != nil {
			return filter{}, badRequest("The parameter "+name+" is no time.", "Write it like 2026-11-20T10:20:30Z.")
		}
		*to = &at
	}
	return f, f.check()
}

// What holds for every dead letter that a filter means, but for its place. Each statement is planned for the
// very values it is run with, so of what is not asked for nothing is left in the plan: where only the state
// is given, dead_letters_state is read backwards until there are enough.
const filterConditions = `
where d.original is null
    and d.position < $1
    and ($2 = 'any' or d.state = $2)
    and ($3 = '' or d.reason = $3)
    and ($4::timestamptz is null or d.received_at >= $4)
    and ($5::timestamptz is null or d.received_at < $5)
    and ($6::bigint[] is null or d.position = any($6))
order by d.position desc
limit $7`

const findSQL = `
select d.position
from dead_letters as d` + filterConditions

// A statement of its own, because a subquery behind an "or" cannot become a join.
const findAtPlaceSQL = `
select d.position
from dead_letters as d
join dead_letter_places as p on p.position = d.position and p.place = $8 and p.position < $1` + filterConditions

// find returns the ids of at most limit dead letters below before, newest first. It does not look at the
// text.
func (f filter) find(ctx context.Context, tx pgx.Tx, before int64, limit int) (ids []int64, err error) {
	statement := findSQL
	arguments := []any{pgx.QueryExecModeDescribeExec, before, f.State, f.Reason, f.Since, f.Until, f.IDs, limit}
	if f.Place != nil {
		statement = findAtPlaceSQL
		arguments = append(arguments, *f.Place)
	}
	rows, err := tx.Query(ctx, statement, arguments...)
	if err == nil {
		ids, err = pgx.CollectRows(rows, pgx.RowTo[int64])
	}
	if err != nil {
		return nil, fmt.Errorf("find dead letters: %w", err)
	}
	return ids, nil
}

// Looks at the payloads until they are too many bytes, but at one at least. Of those behind, it says neither.
const searchSQL = `
select m.position,
    case when m.bytes <= $3 or m.row = 1 then position($2::bytea in m.payload) > 0 end
from (
    select position, payload,
        sum(octet_length(payload)) over (order by position desc rows unbounded preceding) as bytes,
        row_number() over (order by position desc rows unbounded preceding) as row
    from inbox
    where position = any($1)
) as m
order by m.position desc`

// search returns those of the ids, newest first, whose payloads hold a text; and the first that it did not
// look at, 0 for none.
func search(ctx context.Context, tx pgx.Tx, ids []int64, text string) (found []int64, rest int64, err error) {
	rows, err := tx.Query(ctx, searchSQL, pgx.QueryExecModeDescribeExec, ids, []byte(text), searchBytes)
	if err != nil {
		return nil, 0, fmt.Errorf("search payloads: %w", err)
	}
	var id int64
	var holds *bool
	_, err = pgx.ForEachRow(rows, []any{&id, &holds}, func() error {
		switch {
		case holds == nil && rest == 0:
			rest = id
		case holds != nil && *holds:
			found = append(found, id)
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("search payloads: %w", err)
	}
	return found, rest, nil
}

// page returns the ids of at most limit dead letters below before, newest first, and the position before
// which to go on; 0 when there are no more. A search returns after a bounded number of messages, even
// though it may have found none of them yet.
func (f filter) page(ctx context.Context, tx pgx.Tx, before int64, limit int) (ids []int64, next int64, err error) {
	if f.Text == "" {
		// One more than asked for tells whether there is a next page.
		if ids, err = f.find(ctx, tx, before, limit+1); err != nil || len(ids) <= limit {
			return ids, 0, err
		}
		return ids[:limit], ids[limit-1], nil
	}
	candidates, err := f.find(ctx, tx, before, searchCandidates)
	if err != nil {
		return nil, 0, err
	}
	ids, rest, err := search(ctx, tx, candidates, f.Text)
	switch {
	case err != nil:
		return nil, 0, err
	case len(ids) > limit:
		return ids[:limit], ids[limit-1], nil
	case rest > 0:
		return ids, rest + 1, nil
	case len(candidates) == searchCandidates:
		return ids, candidates[searchCandidates-1], nil
	}
	return ids, 0, nil
}
