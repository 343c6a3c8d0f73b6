package verify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Epoch is one count of a channel's messages by its broker. Another one begins when the broker has lost its
// store and counts from 1 again.
type Epoch struct {
	Source  string `json:"source"` // stan or jetstream
	Channel string `json:"channel"`
	Number  int    `json:"number"` // from 1, in the order in which they came to the log
	// Since is the stamp of the message with which it came.
	Since    time.Time `json:"since"`
	Last     int64     `json:"last"` // the highest sequence
	Received int64     `json:"received"`
	Missing  int64     `json:"missing"`           // Last - Received - Detached
	Detached int64     `json:"detached,omitzero"` // in the log once, and taken out of it on purpose
}

// GapRange is a run of sequences that never came from one channel.
type GapRange struct {
	Source  string `json:"source"`
	Channel string `json:"channel"`
	Epoch   int    `json:"epoch"` // its number
	From    int64  `json:"from"`
	To      int64  `json:"to"`
	// After is the stamp of the last message before the gap; zero when the epoch begins with it.
	After time.Time `json:"after,omitzero"`
}

const (
	gapRanges = 20
	// gapChunk is how many messages are read at a time where the log is followed.
	gapChunk   = 10_000
	gapTimeout = 30 * time.Second
	// maxHoles bounds what is remembered of one epoch, which is some 70 bytes a hole.
	maxHoles = 1 << 16
)

// Gaps follows the log and knows what of the brokers' counts is not in it. The zero value has read nothing.
// It is one goroutine's.
type Gaps struct {
	last     message
	counts   map[channel]*numbering
	detached map[channel]counted // the last of each that was
}

// channel is what has a count of its own.
type channel struct{ source, name string }

func (c channel) compare(other channel) int {
	return cmp.Or(strings.Compare(c.source, other.source), strings.Compare(c.name, other.name))
}

// counted is a message as its broker counted and stamped it.
type counted struct {
	sequence int64
	stamp    time.Time
}

// message is one entry of the log, or a copy of one, as its source counted it.
type message struct {
	position int64
	channel  channel
	sequence int64
	stamp    time.Time
}

// operator is the source whose numbers are of no broker.
const operator = "operator"

// arrivals is a table of everything that came, as its source counted it, as a part of the statements below. What is in the
// log once may have come by two brokers, and is counted by both: copies are those of the second.
const arrivals = `(
    select position, source, channel, sequence, stamped_at from inbox
    union all select position, source, channel, sequence, stamped_at from copies
)`

// That only brokers count without holes is no condition here, which a partition without statistics would look up in another
// index and then sort, portion after portion.
const countedSQL = `
select a.position, a.source, a.channel, a.sequence, a.stamped_at
from ` + arrivals + ` as a
where a.position > $1
order by a.position
limit $2`

const detachedSQL = `
select distinct on (source, channel) source, channel, last_sequence, last_stamp
from detached
where source <> '` + operator + `'
order by source, channel, last_stamp desc`

const sameMessageSQL = `
select exists (
    select
    from ` + arrivals + ` as a
    where a.position = $1
        and a.source = $2
        and a.channel = $3
        and a.sequence = $4
        and a.stamped_at = $5
)`

// Follow reads what has come to the log since the last time. The first time that is all of it: a few seconds for
// a million messages, in small portions.
func (g *Gaps) Follow(ctx context.Context, pool *pgxpool.Pool) error {
	if err := g.checkLast(ctx, pool); err != nil {
		return fmt.Errorf("compare with the log at %d: %w", g.last.position, err)
	}
	if g.last.position == 0 {
		if err := g.readDetached(ctx, pool); err != nil {
			return err
		}
	}
	for {
		n, err := g.followChunk(ctx, pool)
		if err != nil {
			return fmt.Errorf("read the brokers' counts after %d: %w", g.last.position, err)
		}
		if n < gapChunk {
			return nil
		}
	}
}

// readDetached reads what the beginning of the log lacks on purpose.
func (g *Gaps) readDetached(ctx context.Context, q querier) error {
	rows, err := q.Query(ctx, detachedSQL)
	if err != nil {
		return fmt.Errorf("read what was detached: %w", err)
	}
	g.detached = make(map[channel]counted)
	var of channel
	var last counted
	_, err = pgx.ForEachRow(rows, []any{&of.source, &of.name, &last.sequence, &last.stamp}, func() error {
		g.detached[of] = last
		return nil
	})
	if err != nil {
		return fmt.Errorf("read what was detached: %w", err)
	}
	return nil
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// checkLast forgets everything when the last message that was read is not in the log any more: an older copy of the
// database has taken the place of the one that was read. It may have grown beyond since, with other messages; but what
// it lost was its end.
func (g *Gaps) checkLast(ctx context.Context, pool *pgxpool.Pool) error {
	if g.last.position == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, gapTimeout)
	defer cancel()
	same := false
	m := g.last
	err := pool.QueryRow(ctx, sameMessageSQL, m.position, m.channel.source, m.channel.name, m.sequence, m.stamp).Scan(&same)
	if err == nil && !same {
		*g = Gaps{}
	}
	return err
}

func (g *Gaps) followChunk(ctx context.Context, pool *pgxpool.Pool) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, gapTimeout)
	defer cancel()
	rows, err := pool.Query(ctx, countedSQL, g.last.position, gapChunk)
	if err != nil {
		return 0, err
	}
	return g.take(rows)
}

// Missing is how many messages in how many gaps never came, of those gaps that have been there for a while: a
// younger one may be a message that another replica has in hand, or that is being asked for again.
func (g *Gaps) Missing(forAtLeast time.Duration) (messages, gaps int64) {
	for _, c := range g.counts {
		for _, e := range c.epochs {
			messages, gaps = messages+e.beyond.messages, gaps+e.beyond.gaps
			for _, h := range e.holes {
				if !h.detached && time.Since(h.noticed) >= forAtLeast {
					messages, gaps = messages+h.to-h.from+1, gaps+1
				}
			}
		}
	}
	return messages, gaps
}

// take takes messages in and returns how many they were.
func (g *Gaps) take(rows pgx.Rows) (n int, err error) {
	now := time.Now()
	m := &g.last
	_, err = pgx.ForEachRow(rows, []any{&m.position, &m.channel.source, &m.channel.name, &m.sequence, &m.stamp}, func() error {
		n++
		if m.channel.source == operator {
			return nil
		}
		c := g.counts[m.channel]
		if c == nil {
			c = &numbering{detached: g.detached[m.channel]}
			if g.counts == nil {
				g.counts = make(map[channel]*numbering)
			}
			g.counts[m.channel] = c
		}
		c.add(m.sequence, m.stamp, now)
		return nil
	})
	return n, err
}

// countGaps fills in what is missing, and the first runs of it.
func countGaps(ctx context.Context, tx pgx.Tx, r *Report) error {
	var g Gaps
	if err := g.readDetached(ctx, tx); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, countedSQL, 0, nil) // null is no limit
	if err != nil {
		return fmt.Errorf("read the brokers' counts: %w", err)
	}
	if _, err := g.take(rows); err != nil {
		return fmt.Errorf("read the brokers' counts: %w", err)
	}
	r.Epochs, r.GapRanges = []Epoch{}, []GapRange{}
	for _, of := range slices.SortedFunc(maps.Keys(g.counts), channel.compare) {
		for i, e := range g.counts[of].epochs {
			detached := e.detached()
			missing := e.last - e.received - detached
			r.Gaps += missing
			r.Epochs = append(r.Epochs, Epoch{Source: of.source, Channel: of.name, Number: i + 1,
				Since: e.since.UTC(), Last: e.last, Received: e.received, Missing: missing, Detached: detached})
			for _, h := range e.holes {
				if h.detached || len(r.GapRanges) == gapRanges {
					continue
				}
				gap := GapRange{Source: of.source, Channel: of.name, Epoch: i + 1, From: h.from, To: h.to}
				if !h.after.IsZero() {
					gap.After = h.after.UTC()
				}
				r.GapRanges = append(r.GapRanges, gap)
			}
		}
	}
	return nil
}

// numbering is what came of one channel. Messages are added in the order in which they were committed, which is
// nearly that of their sequences: what several replicas had in hand at once may have changed places, and what was
// asked for again comes late.
type numbering struct {
	epochs   []*epoch // in the order in which they came
	detached counted  // the last that was; zero for none
}

// epoch is one count of the broker's: 1 to last but for the holes.
type epoch struct {
	since          time.Time
	last, received int64
	lastStamp      time.Time
	holes          []hole // ascending
	// beyond is what did not fit holes. What comes of it after all is not noticed any more.
	beyond struct{ messages, gaps int64 }
}

type hole struct {
	from, to int64
	after    time.Time // zero: before the first message
	noticed  time.Time
	detached bool // what came of it is not in the log any more
}

func (c *numbering) add(sequence int64, stamp, now time.Time) {
	e := c.epochOf(sequence, stamp)
	if e == nil {
		e = &epoch{since: stamp}
		if c.goesOn(sequence, stamp) {
			e.last, e.holes = c.detached.sequence, []hole{{from: 1, to: c.detached.sequence, detached: true}}
		}
		c.epochs = append(c.epochs, e)
	}
	e.add(sequence, stamp, now)
}

// goesOn says whether the first message that is left is of the same epoch as the last that was detached: behind it, or
// one of those before, which came again.
func (c *numbering) goesOn(sequence int64, stamp time.Time) bool {
	return len(c.epochs) == 0 && c.detached.sequence > 0 && (sequence > c.detached.sequence || !stamp.After(c.detached.stamp))
}

// epochOf returns the epoch that a message belongs to; nil for one that begins with it.
//
// Sequences decide, for a broker's clock may step back between two starts of it. Within an epoch each comes once,
// so one that is there already is of another; and a 1 that was stamped after the epoch had begun is another first.
// Stamps decide only whether a message is a late one of an epoch that is over, and then only when its sequence is
// nearer to that one's last.
func (c *numbering) epochOf(sequence int64, stamp time.Time) *epoch {
	if len(c.epochs) == 0 {
		return nil
	}
	newest := len(c.epochs) - 1
	i := newest
	for i > 0 && stamp.Before(c.epochs[i].since) {
		i--
	}
	e := c.epochs[newest]
	if old := c.epochs[i]; old != e && !old.has(sequence) && old.distance(sequence) < e.distance(sequence) {
		return old
	}
	if e.has(sequence) || sequence == 1 && stamp.After(e.since) {
		return nil
	}
	return e
}

func (e *epoch) detached() (n int64) {
	for _, h := range e.holes {
		if h.detached {
			n += h.to - h.from + 1
		}
	}
	return n
}

func (e *epoch) distance(sequence int64) int64 { return max(sequence-e.last, e.last-sequence) }

// at returns the first hole that does not end before a sequence.
func (e *epoch) at(sequence int64) int {
	return sort.Search(len(e.holes), func(i int) bool { return e.holes[i].to >= sequence })
}

func (e *epoch) has(sequence int64) bool {
	if sequence > e.last || e.beyond.gaps > 0 {
		return false
	}
	i := e.at(sequence)
	return i == len(e.holes) || e.holes[i].from > sequence
}

func (e *epoch) add(sequence int64, stamp, now time.Time) {
	if sequence > e.last {
		if missing := sequence - 1 - e.last; missing > 0 && len(e.holes) < maxHoles {
			e.holes = append(e.holes, hole{from: e.last + 1, to: sequence - 1, after: e.lastStamp, noticed: now})
		} else if missing > 0 {
			e.beyond.messages, e.beyond.gaps = e.beyond.messages+missing, e.beyond.gaps+1
		}
		e.last, e.lastStamp = sequence, stamp
		e.received++
		return
	}
	i := e.at(sequence)
	if i == len(e.holes) || e.holes[i].from > sequence {
		return // it is of what was not remembered
	}
	e.received++
	h := &e.holes[i]
	switch {
	case h.from == h.to:
		e.holes = slices.Delete(e.holes, i, i+1)
	case h.from == sequence:
		h.from, h.after = sequence+1, stamp
	case h.to == sequence:
		h.to = sequence - 1
	default:
		rest := hole{from: sequence + 1, to: h.to, after: stamp, noticed: h.noticed, detached: h.detached}
		h.to = sequence - 1
		e.holes = slices.Insert(e.holes, i+1, rest)
	}
}
