package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Where the messages of a month are.
const (
	InLog    = "in the log"
	InOther  = "in inbox_other" // in the log, among what came before there was a partition for it
	Detached = "detached"       // its table is still there
	Archived = "archived"
	Dropped  = "dropped" // its table is gone, and no file was noted
)

// Month is a month of the log, or one that was.
type Month struct {
	Partition string    `json:"partition"` // inbox_2026_01
	From      time.Time `json:"from"`
	To        time.Time `json:"to"` // the first moment of the next
	State     string    `json:"state"`
	Bytes     int64     `json:"bytes"` // in the database
	// Messages are counted where the month was detached.
	Messages int64 `json:"messages,omitempty"`
	// File is where it was archived to, and SHA256 the hash at the file's end.
	File   string `json:"file,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	// WhyNot says why it cannot be archived now; empty when it can, or was.
	WhyNot string `json:"why_not,omitempty"`
	// Stays says that this will not pass by waiting.
	Stays bool `json:"stays,omitempty"`
	// OpenLetters are its dead letters about which nobody has decided: as long as it is archived, nobody can.
	OpenLetters int64 `json:"open_dead_letters,omitempty"`
}

const attachedSQL = `
select p.name, p.bounds[1]::timestamptz, p.bounds[2]::timestamptz, '` + InLog + `', pg_total_relation_size(p.oid), 0::bigint, '', ''
from (
    select c.oid, c.relname as name, regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') as bounds
    from pg_inherits as i
    join pg_class as c on c.oid = i.inhrelid
    where i.inhparent = 'public.inbox'::regclass
) as p
where p.bounds is not null`

// Stamps beyond are none that a name could be made of.
const otherSQL = `
select 'inbox_' || to_char(o.month, 'YYYY_MM'), o.month at time zone 'utc', (o.month + interval '1 month') at time zone 'utc',
    '` + InOther + `', o.bytes, 0::bigint, '', ''
from (
    select date_trunc('month', stamped_at at time zone 'utc') as month, sum(octet_length(payload)) as bytes
    from inbox_other
    where stamped_at between '0001-01-01Z' and '9999-12-01Z'
    group by 1
) as o`

const notedSQL = `
select d.partition, null::timestamptz, null::timestamptz,
    case
        when to_regclass('public.' || quote_ident(d.partition)) is not null then '` + Detached + `'
        when max(d.archive) is not null then '` + Archived + `'
        else '` + Dropped + `'
    end,
    coalesce(pg_total_relation_size(to_regclass('public.' || quote_ident(d.partition))), 0),
    sum(d.messages)::bigint, coalesce(max(d.archive), ''), coalesce(max(d.sha256), '')
from detached as d
group by d.partition`

// Months returns the months that the log has and those that were taken out of it, the oldest first.
func Months(ctx context.Context, conn *pgx.Conn) ([]Month, error) {
	var months []Month
	for _, statement := range []string{notedSQL, attachedSQL, otherSQL} {
		rows, err := conn.Query(ctx, statement)
		if err != nil {
			return nil, fmt.Errorf("list the months of the log: %w", err)
		}
		some, err := pgx.CollectRows(rows, scanMonth)
		if err != nil {
			return nil, fmt.Errorf("list the months of the log: %w", err)
		}
		months = append(months, some...)
	}
	if err := judge(ctx, conn, months); err != nil {
		return nil, fmt.Errorf("look at the months of the log: %w", err)
	}
	slices.SortStableFunc(months, func(a, b Month) int { return a.From.Compare(b.From) })
	return months, nil
}

// nameLayout is how the partition of a month is named.
const nameLayout = "inbox_2006_01"

func scanMonth(row pgx.CollectableRow) (m Month, err error) {
	var from, to *time.Time
	if err := row.Scan(&m.Partition, &from, &to, &m.State, &m.Bytes, &m.Messages, &m.File, &m.SHA256); err != nil {
		return m, err
	}
	if from != nil {
		m.From, m.To = from.UTC(), to.UTC()
	} else if day, err := time.Parse(nameLayout, m.Partition); err == nil {
		m.From, m.To = day, day.AddDate(0, 1, 0)
	}
	return m, nil
}

const nowSQL = `select now()`

// judge says of each month why it cannot be archived. It is what detach_inbox_partition asks as well, before gigabytes
// are written.
func judge(ctx context.Context, conn *pgx.Conn, months []Month) error {
	var now time.Time
	if err := conn.QueryRow(ctx, nowSQL).Scan(&now); err != nil {
		return err
	}
	done, err := checkpoints(ctx, conn)
	if err != nil {
		return err
	}
	noted := map[string]bool{}
	for i := range months {
		m := &months[i]
		switch {
		case m.State == Archived || m.State == Dropped:
			noted[m.Partition] = true
		case m.State == Detached:
			if noted[m.Partition] = true; m.From.IsZero() {
				m.WhyNot, m.Stays = "its name is that of no month", true
			}
		case m.To.After(now):
			m.WhyNot = "it is not over"
		case noted[m.Partition]:
			m.WhyNot, m.Stays = "these came again after the month was detached", true
		default:
			if err := judgeMessages(ctx, conn, m, done); err != nil {
				return err
			}
		}
	}
	return nil
}

const generationsSQL = `
select name
from generations
where state <> 'trial'
    and to_regnamespace(name) is not null`

const inServiceSQL = `
select coalesce((
    select name
    from generations
    where state = 'current'
        and to_regnamespace(name) is not null
), '')`

// projected is how far the generations are, by their names. Current is the one in service; empty for none.
type projected struct {
	current string
	at      map[string]int64
}

func checkpoints(ctx context.Context, conn *pgx.Conn) (p projected, err error) {
	if err := conn.QueryRow(ctx, inServiceSQL).Scan(&p.current); err != nil {
		return p, err
	}
	rows, err := conn.Query(ctx, generationsSQL)
	if err != nil {
		return p, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return p, err
	}
	p.at = map[string]int64{}
	for _, name := range names {
		var position int64
		checkpoint := pgx.Identifier{name, "checkpoint"}.Sanitize()
		if err := conn.QueryRow(ctx, `select coalesce(max(position), 0) from `+checkpoint).Scan(&position); err != nil {
			return p, err
		}
		p.at[name] = position
	}
	return p, nil
}

// A month that came as a whole before the next one began lies before it.
const laterBeforeSQL = `
select exists (
    select
    from inbox
    where position < $1
        and stamped_at >= $2
)`

// judgeMessages looks at what a month holds.
func judgeMessages(ctx context.Context, conn *pgx.Conn, m *Month, done projected) error {
	lies := table(m.Partition)
	if m.State == InOther {
		lies = `inbox_other`
	}
	const ofMonth = ` where stamped_at >= $1 and stamped_at < $2`
	var last int64
	if err := conn.QueryRow(ctx, `select coalesce(max(position), 0) from `+lies+ofMonth, m.From, m.To).Scan(&last); err != nil {
		return err
	}
	switch {
	case last == 0:
		m.WhyNot, m.Stays = "it is empty", true
		return nil
	case done.current == "":
		m.WhyNot = "nothing is projected yet"
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(done.at)) {
		if done.at[name] < last {
			m.WhyNot = name + " has not projected all of it"
			return nil
		}
	}
	err := conn.QueryRow(ctx, `
		select count(*)
		from `+pgx.Identifier{done.current, "dead_letters"}.Sanitize()+`
		where state = 'open'
			and original is null
			and position in (select position from `+lies+ofMonth+`)`, m.From, m.To).Scan(&m.OpenLetters)
	if err != nil {
		return err
	}
	if m.State != InOther {
		return nil
	}
	var stray bool
	if err := conn.QueryRow(ctx, laterBeforeSQL, last, m.To).Scan(&stray); err != nil {
		return err
	}
	if stray { // without them the channel's count would have holes
		m.WhyNot, m.Stays = "these came among later ones: a clock was wrong", true
	}
	return nil
}

// table is a partition's name as statements have it.
func table(partition string) string { return pgx.Identifier{"public", partition}.Sanitize() }

// ErrNoMonth says that there is nothing of that name to archive.
var ErrNoMonth = errors.New("there is no such month in the log")

// Find returns the month of a partition's name. The error is ErrNoMonth when it never was in the log.
func Find(months []Month, partition string) (Month, error) {
	for _, m := range months { // what came again after it was archived is behind it
		if m.Partition == partition {
			return m, nil
		}
	}
	return Month{}, fmt.Errorf("%s: %w", partition, ErrNoMonth)
}
