package verify

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// law is one thing that must never be found.
type law struct {
	number int
	what   string // said of the offenders; empty when the statement says it itself
	// sql selects the offenders' positions, lowest first; or, when what is empty, sentences.
	sql string
}

// find reads the offenders without keeping them: there may be millions.
func (l law) find(ctx context.Context, tx pgx.Tx) ([]Finding, error) {
	rows, err := tx.Query(ctx, l.sql)
	if err != nil {
		return nil, err
	}
	if l.what == "" {
		return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Finding, error) {
			f := Finding{Law: l.number, Count: 1, Examples: []int64{}}
			err := row.Scan(&f.What)
			return f, err
		})
	}
	f := Finding{Law: l.number, What: l.what, Examples: []int64{}}
	var position int64
	_, err = pgx.ForEachRow(rows, []any{&position}, func() error {
		if f.Count++; f.Count <= examples {
			f.Examples = append(f.Examples, position)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", l.what, err)
	}
	if f.Count == 0 {
		return nil, nil
	}
	return []Finding{f}, nil
}

// No constraint forbids it: a unique one would have to contain the column that partitions.
const positionTwiceSQL = `
select a.position
from ` + arrivals + ` as a
group by a.position
having count(*) > 1
order by a.position`

const messageTwiceSQL = `
select max(position)
from inbox
group by source, channel, sequence, stamped_at
having count(*) > 1
order by max(position)`

// A copy that is noted is of a message that came before or with it; 0 is one whose month had been detached when it came.
const copyOfNothingSQL = `
select c.position
from copies as c
where not exists (
    select
    from inbox as i
    where i.position = c.original
        and i.position < c.position
)
and c.original > 0
and not ` + whereDetached + `c.original` + inDetached + `
order by c.position`

func inboxLaws() []law {
	return []law{
		{2, "copies of messages that are not in the inbox", copyOfNothingSQL},
		{3, "positions given to several messages", positionTwiceSQL},
		{3, "messages that are in the inbox twice", messageTwiceSQL},
	}
}

// Whoever is a member of the owner's role may take it, and with it every right.
const privilegesSQL = `
select format('the service''s role %s may %s %s', r.rolname, p.privilege, t.relid::regclass)
from pg_partition_tree('public.inbox') as t
join pg_class as c on c.oid = t.relid
join pg_roles as r on r.rolname = 'orderbox'
cross join unnest(array['UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER', 'OWN']) as p (privilege)
where case
    when p.privilege = 'OWN' then pg_has_role(r.oid, c.relowner, 'member')
    when p.privilege in ('UPDATE', 'REFERENCES') then has_any_column_privilege(r.oid, c.oid, p.privilege)
    else has_table_privilege(r.oid, c.oid, p.privilege)
end
order by c.relname, p.privilege`

func privilegeLaws() []law {
	return []law{{2, "", privilegesSQL}}
}

// inDetached ends a condition on a position: it was taken out of the log on purpose.
const inDetached = ` between x.first and x.last)`

const whereDetached = `exists (select from detached as x where `

// fates is a table of every message's verdict, as a part of the statements below.
const fates = `(
    select position from orders
    union all select position from duplicates
    union all select position from dead_letters
)`

const fatelessSQL = `
select i.position
from inbox as i
where i.position <= (select c.position from checkpoint as c)
and not exists (
    select
    from ` + fates + ` as f
    where f.position = i.position
)
order by i.position`

const severalFatesSQL = `
select f.position
from ` + fates + ` as f
group by f.position
having count(*) > 1
order by f.position`

const fateOfNothingSQL = `
select f.position
from ` + fates + ` as f
where not exists (select from inbox as i where i.position = f.position)
and not ` + whereDetached + `f.position` + inDetached + `
order by f.position`

const fateAheadSQL = `
select f.position
from ` + fates + ` as f
where f.position > (select coalesce(max(c.position), 0) from checkpoint as c)
order by f.position`

const duplicateOfNothingSQL = `
select d.position
from duplicates as d
left join orders as o on o.position = d.first
where o.position is null
or d.first >= d.position
order by d.position`

// Only a conflict has a first one.
const conflictWithNothingSQL = `
select d.position
from dead_letters as d
left join orders as o on o.position = d.first
where (d.reason = 'conflict') <> (o.position is not null)
or d.first >= d.position
order by d.position`

const deliverySQL = `
select coalesce(o.position, d.position)
from orders as o
full join deliveries as d on d.position = o.position
where o.position is null
or d.position is null
order by 1`

const paymentSQL = `
select coalesce(o.position, p.position)
from orders as o
full join payments as p on p.position = o.position
where o.position is null
or p.position is null
order by 1`

// A line comes once in an order (primary key), so the first, the last and the number of them say it all.
const itemsSQL = `
select coalesce(o.position, i.position)
from orders as o
full join (
    select position, count(*) as lines, min(line) as first, max(line) as last
    from items
    group by position
) as i on i.position = o.position
where o.position is null
or i.first is distinct from 1
or i.last is distinct from i.lines
order by 1`

func projectionLaws() []law {
	return []law{
		{3, "messages up to the checkpoint without a fate", fatelessSQL},
		{3, "messages with more than one fate", severalFatesSQL},
		{3, "fates of messages that are not in the inbox", fateOfNothingSQL},
		{3, "fates of messages beyond the checkpoint", fateAheadSQL},
		{3, "duplicates that are not of an earlier order", duplicateOfNothingSQL},
		{3, "conflicts that are not with an earlier order", conflictWithNothingSQL},
		{4, "orders without a delivery, or deliveries without an order", deliverySQL},
		{4, "orders without a payment, or payments without an order", paymentSQL},
		{4, "orders whose items are not lines 1 to n", itemsSQL},
	}
}
