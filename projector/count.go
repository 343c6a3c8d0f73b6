package projector

import "github.com/jackc/pgx/v5"

// group is what dead letters are counted by, beside their state.
type group struct{ reason, place string }

// anyPlace is the place of the group that has all dead letters with a reason, each once.
const anyPlace = "*"

const countNewSQL = `
insert into dead_letter_counts as c (reason, place, state, letters)
select n.reason, n.place, 'open', n.letters
from unnest($1::text[], $2::text[], $3::bigint[]) as n (reason, place, letters)
on conflict (reason, place, state) do update
set letters = c.letters + excluded.letters`

// countNew queues what counts the dead letters of the batch. They are counted here and not by SQL: reading their rows back
// costs the more the less the planner knows of the tables.
func (f *fates) countNew(statements *pgx.Batch) {
	counts := map[group]int64{}
	for _, j := range f.dead {
		if j.original != 0 {
			continue
		}
		for _, place := range append(j.dead.places(), anyPlace) {
			counts[group{string(j.dead.reason), place}]++
		}
	}
	var reasons, places []string
	var letters []int64
	for g, n := range counts {
		reasons, places, letters = append(reasons, g.reason), append(places, g.place), append(letters, n)
	}
	if len(counts) > 0 {
		statements.Queue(countNewSQL, reasons, places, letters)
	}
}

// countChanged ends a statement: it brings the counts up to date with what the rows before say, changed, of dead
// letters: position, reason, original, the state that each was in, and the one that it is in.
const countChanged = `
insert into dead_letter_counts as c (reason, place, state, letters)
select n.reason, p.place, s.state, sum(s.letters)
from changed as n
cross join lateral (
    select '` + anyPlace + `' as place
    union all
    select place
    from dead_letter_places
    where position = n.position
) as p
cross join lateral (values (n.was, -1), (n.state, 1)) as s (state, letters)
where n.original is null
group by n.reason, p.place, s.state
having sum(s.letters) <> 0
on conflict (reason, place, state) do update
set letters = c.letters + excluded.letters`
