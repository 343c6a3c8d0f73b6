package verify

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// row is a row as text, column by column; nil is null.
type row [][]byte

func (r row) equal(other row) bool {
	return slices.EqualFunc(r, other, func(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) })
}

// fate is every row that a generation has about one position.
type fate struct {
	position int64
	rows     [tableCount][]row
}

// one is the row of a table that has at most one for a position; nil when there is none.
func (f *fate) one(table int) row {
	if len(f.rows[table]) == 0 {
		return nil
	}
	return f.rows[table][0]
}

// reach says how much of a generation is looked at.
type reach struct {
	from, to int64 // positions, both included
	decision int64 // the last one that counts
}

// How far a generation has come; no row when its checkpoint is gone.
const reachedSQL = `
select position, decision
from checkpoint`

// stream reads a generation's fates in the order of positions. It holds a few hundred rows of each table,
// however many there are, and several streams may be read by turns in one transaction.
type stream struct {
	tx      pgx.Tx
	cursors [tableCount]cursor
}

// plainSQL makes rows the same text in every session, and has them read along the indexes.
const plainSQL = `
select set_config('TimeZone', 'UTC', true),
    set_config('DateStyle', 'ISO', true),
    set_config('bytea_output', 'hex', true),
    set_config('jit', 'off', true),
    set_config('work_mem', '64MB', true)`

// openStream begins to read a generation; name tells the streams of one transaction apart.
func openStream(ctx context.Context, tx pgx.Tx, name, generation string, r reach) (*stream, error) {
	if _, err := tx.Exec(ctx, plainSQL); err != nil {
		return nil, err
	}
	// A cursor stays with the tables that the search path named when it was declared.
	if _, err := tx.Exec(ctx, enterGenerationSQL, generation); err != nil {
		return nil, err
	}
	s := &stream{tx: tx}
	for i, t := range tables() {
		c := &s.cursors[i]
		c.name = pgx.Identifier{name + "_" + t.name}.Sanitize()
		args := []any{pgx.QueryExecModeExec, r.from, r.to}
		if t.decided {
			args = append(args, r.decision)
		}
		if _, err := tx.Exec(ctx, "declare "+c.name+" no scroll cursor for "+t.sql, args...); err != nil {
			return nil, fmt.Errorf("read %s of %s: %w", t.name, generation, err)
		}
	}
	return s, nil
}

// next returns the next fate, and nil after the last one.
func (s *stream) next(ctx context.Context) (*fate, error) {
	var f *fate
	for i := range s.cursors {
		c := &s.cursors[i]
		if err := c.fill(ctx, s.tx); err != nil {
			return nil, err
		}
		if len(c.rows) > 0 && (f == nil || c.position < f.position) {
			f = &fate{position: c.position}
		}
	}
	if f == nil {
		return nil, nil
	}
	for i := range s.cursors {
		c := &s.cursors[i]
		for len(c.rows) > 0 && c.position == f.position {
			f.rows[i] = append(f.rows[i], c.rows[0])
			if err := c.take(ctx, s.tx); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// columns are the names of a table's columns; known after the first call of next.
func (s *stream) columns(table int) []string { return s.cursors[table].columns }

// close lets go of the cursors before the transaction ends.
func (s *stream) close(ctx context.Context) error {
	for i := range s.cursors {
		if _, err := s.tx.Exec(ctx, "close "+s.cursors[i].name); err != nil {
			return err
		}
	}
	return nil
}

// cursor reads one table.
type cursor struct {
	name     string
	columns  []string
	rows     []row // fetched and not yet taken
	position int64 // of the first of them
	ended    bool
}

// take goes on to the next row.
func (c *cursor) take(ctx context.Context, tx pgx.Tx) error {
	if c.rows = c.rows[1:]; len(c.rows) == 0 {
		return c.fill(ctx, tx)
	}
	return c.locate()
}

func (c *cursor) locate() (err error) {
	c.position, err = strconv.ParseInt(string(c.rows[0][0]), 10, 64)
	return err
}

// fetchRows is bounded in rows, and the columns' contents are bounded.
const fetchRows = "fetch 500 from "

// fill sees to it that a row is there, unless there is none left.
func (c *cursor) fill(ctx context.Context, tx pgx.Tx) error {
	if len(c.rows) > 0 || c.ended {
		return nil
	}
	// The simple protocol gives text, and prepares nothing that a table of another shape could make stale.
	rows, err := tx.Query(ctx, fetchRows+c.name, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return err
	}
	defer rows.Close()
	if c.columns == nil {
		for _, d := range rows.FieldDescriptions() {
			c.columns = append(c.columns, d.Name)
		}
	}
	for rows.Next() {
		c.rows = append(c.rows, copied(rows.RawValues()))
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if c.ended = len(c.rows) == 0; c.ended {
		return nil
	}
	return c.locate()
}

// copied keeps values that are the driver's until the next row, in one piece of memory.
func copied(values [][]byte) row {
	size := 0
	for _, v := range values {
		size += len(v)
	}
	r, text := make(row, len(values)), make([]byte, 0, size)
	for i, v := range values {
		if v != nil {
			text = append(text, v...)
			r[i] = text[len(text)-len(v) : len(text) : len(text)]
		}
	}
	return r
}
