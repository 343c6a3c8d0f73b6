package verify

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// GapRange is a run of sequences that never came from one channel.
type GapRange struct {
	Channel string `json:"channel"`
	From    int64  `json:"from"`
	To      int64  `json:"to"`
	// After is the stamp of the last message before the gap; zero when the channel begins with it.
	After time.Time `json:"after,omitzero"`
}

const gapRanges = 20

// Only a broker counts without holes: what has another source has a numbering of its own.
// A sequence that does not rise begins a new count, by a broker that lost its store, and counts begin
// with 1. The stamp alone would not do as an order: the log keeps microseconds.
const gapsSQL = `
select m.channel,
    case when m.sequence > m.previous then m.previous + 1 else 1 end as from_sequence,
    m.sequence - 1 as to_sequence,
    m.after
from (
    select channel, sequence, stamped_at,
        lag(sequence) over w as previous,
        lag(stamped_at) over w as after
    from inbox
    where source = 'stan'
    window w as (partition by channel order by stamped_at, sequence)
) as m
where m.sequence > case when m.sequence > m.previous then m.previous + 1 else 1 end
order by m.channel, m.stamped_at, m.sequence`

// gaps counts all missing messages and returns the first runs of them.
func gaps(ctx context.Context, tx pgx.Tx) (missing int64, first []GapRange, err error) {
	rows, err := tx.Query(ctx, gapsSQL)
	if err != nil {
		return 0, nil, err
	}
	first = []GapRange{}
	var g GapRange
	var after *time.Time
	_, err = pgx.ForEachRow(rows, []any{&g.Channel, &g.From, &g.To, &after}, func() error {
		missing += g.To - g.From + 1
		if g.After = (time.Time{}); after != nil {
			g.After = after.UTC()
		}
		if len(first) < gapRanges {
			first = append(first, g)
		}
		return nil
	})
	return missing, first, err
}
