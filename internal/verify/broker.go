package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Broker is what a broker has, by its own word, and what of that is not in the log.
type Broker struct {
	Source  string `json:"source"`
	Channel string `json:"channel"`
	First   int64  `json:"first"` // 0 when it has nothing
	Last    int64  `json:"last"`
	// Since is the stamp of its first message; zero when its count is never mistaken for another one.
	Since time.Time `json:"since,omitzero"`
	// Lacking is how many of these the log lacks, Ranges the first twenty runs of them.
	Lacking int64   `json:"lacking"`
	Ranges  []Range `json:"ranges"`
}

// Range is a run of sequences.
type Range struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// What was stamped before the broker's first message is of a store that it had before, unless it came to the log behind that
// message: then the broker's clock has stepped back. What was detached is not lacking. One sequence more closes a hole at
// the end.
const lackingSQL = `
with kept as (
    select greatest($3, coalesce(max(d.last_sequence) + 1, 1)) as first
    from detached as d
    where d.source = $1
        and d.channel = $2
        and d.last_stamp >= $5
)
select m.previous + 1, m.sequence - 1, (sum(m.sequence - m.previous - 1) over ())::bigint
from (
    select n.sequence, lag(n.sequence, 1, (select first from kept) - 1) over (order by n.sequence) as previous
    from (
        select a.sequence
        from ` + arrivals + ` as a
        where a.source = $1
            and a.channel = $2
            and a.sequence between (select first from kept) and $4
            and (a.stamped_at >= $5 or a.position > (
                select f.position
                from ` + arrivals + ` as f
                where f.source = $1
                    and f.channel = $2
                    and f.sequence = $3
                    and f.stamped_at = $5
            ))
        union all
        select $4 + 1
    ) as n
) as m
where m.sequence > m.previous + 1
order by m.sequence
limit $6`

// CheckBroker fills in what the log lacks of what the broker has. What was published a moment ago may be on its way.
func CheckBroker(ctx context.Context, pool *pgxpool.Pool, b *Broker) error {
	b.Lacking, b.Ranges = 0, []Range{}
	if b.Last == 0 {
		return nil
	}
	since := b.Since.Truncate(time.Microsecond) // as the log keeps it
	rows, err := pool.Query(ctx, lackingSQL, b.Source, b.Channel, b.First, b.Last, since, gapRanges)
	if err != nil {
		return fmt.Errorf("compare the log with the broker: %w", err)
	}
	var run Range
	_, err = pgx.ForEachRow(rows, []any{&run.From, &run.To, &b.Lacking}, func() error {
		b.Ranges = append(b.Ranges, run)
		return nil
	})
	if err != nil {
		return fmt.Errorf("compare the log with the broker: %w", err)
	}
	return nil
}
