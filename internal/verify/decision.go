package verify

const originalSQL = `
select i.position
from inbox as i
left join inbox as o on o.position = i.original
where i.original is not null
and (o.position is null and not ` + whereDetached + `i.original` + inDetached + ` or o.position >= i.position)
order by i.position`

const operatorSQL = `
select position
from inbox
where (source = 'operator') <> (original is not null)
order by position`

const undecidedSQL = `
select i.position
from inbox as i
left join decisions as d on d.entry = i.position
where i.source = 'operator'
group by i.position
having count(d.id) <> 1
order by i.position`

// What it is about is named, for an entry that is not there has no position.
const entrySQL = `
select d.position
from decisions as d
left join inbox as i on i.position = d.entry
where d.entry is not null
and (i.source is distinct from 'operator' or i.original is distinct from d.position)
and not (i.position is null and ` + whereDetached + `d.entry` + inDetached + `)
order by d.position`

func decisionLaws() []law {
	return []law{
		{4, "retries and amendments that are not of an earlier message", originalSQL},
		{4, "operators' entries without an original, or originals in others'", operatorSQL},
		{4, "operators' entries that not exactly one decision made", undecidedSQL},
		{4, "messages with a decision whose retry or amendment is not in the inbox", entrySQL},
	}
}

const attemptSQL = `
select d.position
from dead_letters as d
join inbox as i on i.position = d.position
where d.original is distinct from i.original
order by d.position`

// This says all there is to resolved: that it is later, about this one, not refused, and the first.
const resolvedSQL = `
select d.position
from dead_letters as d
left join (
    select i.original, min(i.position) as first
    from inbox as i
    left join dead_letters as r on r.position = i.position
    where i.original < i.position
    and i.position <= (select c.position from checkpoint as c)
    and r.position is null
    group by i.original
) as a on a.original = d.position
where d.resolved is distinct from a.first
and not ` + whereDetached + `d.resolved` + inDetached + `
order by d.position`

// Decisions that the checkpoint has not reached are still to be applied.
const discardedSQL = `
select d.position
from dead_letters as d
left join (
    select distinct on (position) position, kind
    from decisions
    where kind in ('discard', 'reopen')
    and id <= (select c.decision from checkpoint as c)
    order by position, id desc
) as n on n.position = d.position
where d.discarded <> (n.kind is not distinct from 'discard')
order by d.position`

// What is not JSON fails as a whole. Lax, so that violations of another shape are a finding and no error.
// The lookahead leaves the slash for the number that follows.
const wrongPlaceSQL = `
with wanted as (
    select d.position, regexp_replace(v.pointer #>> '{}', '/[0-9]+(?=/|$)', '/*', 'g') as place
    from dead_letters as d
    cross join jsonb_path_query(d.violations, 'lax $[*].pointer') as v (pointer)
    where d.reason <> 'malformed'
    union
    select position, ''
    from dead_letters
    where reason = 'malformed'
)
select position
from (
    (select position, place from wanted except select position, place from dead_letter_places)
    union all
    (select position, place from dead_letter_places except select position, place from wanted)
) as wrong
group by position
order by position`

// The places are not named: a schema may have let names from messages into them.
const miscountedSQL = `
select distinct format('the counts of %s dead letters that are %s are not those of the rows',
    coalesce(c.reason, l.reason), coalesce(c.state, l.state)) as sentence
from dead_letter_counts as c
full join (
    select d.reason, p.place, d.state, count(*) as letters
    from dead_letters as d
    join (
        select position, '*' as place from dead_letters
        union all
        select position, place from dead_letter_places
    ) as p on p.position = d.position
    where d.original is null
    group by d.reason, p.place, d.state
) as l on l.reason = c.reason and l.place = c.place and l.state = c.state
where coalesce(c.letters, 0) <> coalesce(l.letters, 0)
order by sentence`

func countLaws() []law {
	return []law{{4, "", miscountedSQL}}
}

func deadLetterLaws() []law {
	return []law{
		{4, "dead letters with another original than their message", attemptSQL},
		{4, "dead letters not resolved by their first retry or amendment that was not refused", resolvedSQL},
		{4, "dead letters not discarded as the last decision says", discardedSQL},
		{4, "dead letters whose places are not those of their violations", wrongPlaceSQL},
	}
}

// One that is being built may be missing, and a database that has none at all is a new one.
const generationsSQL = `
select format('%s generations are %s', count(*), state)
from generations
where state <> 'trial'
group by state
having count(*) > 1
union all
select 'there are generations, and none is current'
where exists (select from generations)
and not exists (select from generations where state = 'current')
order by 1`

func generationLaws() []law {
	return []law{{4, "", generationsSQL}}
}
