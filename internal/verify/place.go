package verify

import (
	"bytes"
	"context"
	"math/bits"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// places knows the place of each position that has a fate, from 1 on, without the holes between them. It takes about an
// eighth of a byte for each position.
type places struct {
	entries int64
	pages   map[int64]*placePage // by position / pagePositions
}

const pagePositions = 1 << 12

type placePage struct {
	before int64 // how many come before this page
	there  [pagePositions / 64]uint64
}

// Where a run of positions begins, and where the one before it ended. The last row ends the last run.
const positionRunsSQL = `
select m.previous, m.position
from (
    select n.position, lag(n.position, 1, 0::bigint) over (order by n.position) as previous
    from (
        select position
        from orders
        where position <= $1
        union all
        select position
        from duplicates
        where position <= $1
        union all
        select position
        from dead_letters
        where position <= $1
        union all
        select 9223372036854775807
    ) as n
) as m
where m.position > m.previous + 1
    or m.previous = 0
order by m.position`

// readPlaces reads the places of all positions up to the last.
func readPlaces(ctx context.Context, tx pgx.Tx, last int64) (*places, error) {
	p := &places{pages: map[int64]*placePage{}}
	rows, err := tx.Query(ctx, positionRunsSQL, last)
	if err != nil {
		return nil, err
	}
	var begin, previous, next int64
	_, err = pgx.ForEachRow(rows, []any{&previous, &next}, func() error {
		for position := begin; position <= previous && previous > 0; position++ {
			p.add(position)
		}
		begin = next
		return nil
	})
	return p, err
}

// add takes the next position.
func (p *places) add(position int64) {
	page := p.pages[position/pagePositions]
	if page == nil {
		page = &placePage{before: p.entries}
		p.pages[position/pagePositions] = page
	}
	at := position % pagePositions
	page.there[at/64] |= 1 << (at % 64)
	p.entries++
}

// of returns the place of a position as a text; one that has no fate is left as it is, with a mark.
func (p *places) of(position []byte) []byte {
	n, err := strconv.ParseInt(string(position), 10, 64)
	page, at := p.pages[n/pagePositions], n%pagePositions
	if err != nil || page == nil || at < 0 || page.there[at/64]&(1<<(at%64)) == 0 {
		return append([]byte("?"), position...)
	}
	place := page.before + 1
	for _, word := range page.there[:at/64] {
		place += int64(bits.OnesCount64(word))
	}
	place += int64(bits.OnesCount64(page.there[at/64] & (1<<(at%64) - 1)))
	return strconv.AppendInt(nil, place, 10)
}

// What refers to a position, beside the first column of each table. The first one of a conflict is in its texts as well.
var (
	references = []string{"first", "original", "resolved"}
	quoting    = []string{"sentence", "violations"}
)

// place replaces the positions in a fate by their places. What belongs to no message stays at 0.
func (f *fate) place(s *stream, p *places) {
	if f.position == 0 {
		return
	}
	own := p.of(strconv.AppendInt(nil, f.position, 10))
	for i, rows := range f.rows {
		columns := s.columns(i)
		for _, r := range rows {
			r[0] = own
			if i != inDuplicates && i != inDeadLetters {
				continue
			}
			for column, name := range columns {
				if r[column] == nil || !slices.Contains(references, name) {
					continue
				}
				was := r[column]
				r[column] = p.of(was)
				if name == "first" {
					r.requote(columns, was, r[column])
				}
			}
		}
	}
}

// requote writes another number where a row's texts name one.
func (r row) requote(columns []string, was, is []byte) {
	for column, name := range columns {
		if slices.Contains(quoting, name) {
			r[column] = replaceNumber(r[column], was, is)
		}
	}
}

// replaceNumber replaces a number wherever it stands by itself in a text.
func replaceNumber(text, was, is []byte) (replaced []byte) {
	digit := func(i int) bool { return i >= 0 && i < len(text) && text[i] >= '0' && text[i] <= '9' }
	for from := 0; ; {
		i := bytes.Index(text[from:], was)
		if i < 0 {
			return append(replaced, text[from:]...)
		}
		i, end := from+i, from+i+len(was)
		if digit(i-1) || digit(end) {
			replaced = append(replaced, text[from:end]...)
		} else {
			replaced = append(append(replaced, text[from:i]...), is...)
		}
		from = end
	}
}
