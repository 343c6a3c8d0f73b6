package query

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// maxGroups bounds what is listed: the largest groups.
const maxGroups = 1000

// reasonGroup counts the dead letters with one reason.
type reasonGroup struct {
	Reason   string `json:"reason"`
	Sentence string `json:"sentence"` // what the reason means in general
	Count    int64  `json:"count"`
}

// placeGroup counts the dead letters that fail at one place; one that fails at two is in two.
type placeGroup struct {
	Reason string `json:"reason"`
	Place  string `json:"place"` // with * for the number of an entry; empty for the message as a whole
	Count  int64  `json:"count"`
}

// groups is the dead letters at a glance, the largest groups first. What was not asked for is null.
type groups struct {
	Reasons []reasonGroup `json:"reasons"`
	Places  []placeGroup  `json:"places"`
}

// groupsJSON counts dead letters by reason and by place.
func (s *Server) groupsJSON(w http.ResponseWriter, r *http.Request) error {
	p, err := parseParams(r, "state", "by")
	if err != nil {
		return err
	}
	f, err := p.filter()
	if err != nil {
		return err
	}
	ways, by := []string{"reason", "place"}, p.text("by")
	if by != "" && !slices.Contains(ways, by) {
		return badRequest("The parameter by is neither reason nor place.", "Use one of these: "+strings.Join(ways, ", ")+"; or leave it out for both.")
	}
	var g groups
	err = s.query(r.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		g, err = readGroups(ctx, tx, f.State, by)
		return err
	})
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, typeJSON, g)
}

// A generation of an earlier version has no counts, until the next one takes its place.
const hasCountsSQL = `select to_regclass('dead_letter_counts') is not null`

// readGroups says how many dead letters are in a state, by reason or by place, or both when by is empty.
func readGroups(ctx context.Context, tx pgx.Tx, state, by string) (g groups, err error) {
	byReason, byPlace := reasonGroupsSQL, placeGroupsSQL
	var counted bool
	if err := tx.QueryRow(ctx, hasCountsSQL).Scan(&counted); err != nil {
		return groups{}, fmt.Errorf("group dead letters: %w", err)
	}
	if !counted {
		byReason, byPlace = countReasonsSQL, countPlacesSQL
	}
	if by != "place" {
		g.Reasons, err = collect[reasonGroup](ctx, tx, byReason, state)
	}
	if err == nil && by != "reason" {
		g.Places, err = collect[placeGroup](ctx, tx, byPlace, state)
	}
	if err != nil {
		return groups{}, fmt.Errorf("group dead letters: %w", err)
	}
	return g, nil
}

const reasonGroupsSQL = `
select r.code, r.sentence, sum(c.letters)::bigint as count
from dead_letter_counts as c
join reasons as r on r.code = c.reason
where c.place = '*'
    and ($1 = 'any' or c.state = $1)
group by r.code
having sum(c.letters) > 0
order by count desc, r.code
limit $2`

const placeGroupsSQL = `
select reason, place, sum(letters)::bigint as count
from dead_letter_counts
where place <> '*'
    and ($1 = 'any' or state = $1)
group by reason, place
having sum(letters) > 0
order by count desc, reason, place
limit $2`

// An index tells it all.
const countReasonsSQL = `
select r.code, r.sentence, g.count
from (
    select reason, count(*) as count
    from dead_letters
    where original is null
        and ($1 = 'any' or state = $1)
    group by reason
) as g
join reasons as r on r.code = g.reason
order by g.count desc, r.code
limit $2`

const countPlacesSQL = `
select d.reason, p.place, count(*) as count
from dead_letters as d
join dead_letter_places as p on p.position = d.position
where d.original is null
    and ($1 = 'any' or d.state = $1)
group by d.reason, p.place
order by count desc, d.reason, p.place
limit $2`

func collect[T any](ctx context.Context, tx pgx.Tx, statement, state string) ([]T, error) {
	// Planned for this very state, like the list.
	rows, err := tx.Query(ctx, statement, pgx.QueryExecModeDescribeExec, state, maxGroups)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}
