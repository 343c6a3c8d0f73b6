package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrNotNoted says that the database notes nothing of what a file holds, or another hash.
var ErrNotNoted = errors.New("it is not noted in this database as detached")

// ErrInLog says that the month of a file is in the log. Nothing need be done.
var ErrInLog = errors.New("its month is in the log already")

// Restored is a month that is in the log again.
type Restored struct {
	Partition string `json:"partition"`
	End
	// LeftBehind says that the generation in service holds nothing of what became of these messages, as after a replay
	// without them: it has to be replayed.
	LeftBehind bool `json:"left_behind"`
}

// Restore puts the month that a file holds back into the log, at the positions that its messages had, in one transaction:
// all of it is there again, or nothing was changed. The error is ErrDamaged when the file is not what was written,
// ErrInLog when its month is there, and ErrNotNoted when another one, or none, was taken out of this log.
func Restore(ctx context.Context, conn *pgx.Conn, name string, progress Progress) (r Restored, err error) {
	if r, err = restore(ctx, conn, name, progress); err != nil {
		return Restored{}, fmt.Errorf("restore %s: %w", name, err)
	}
	return r, nil
}

func restore(ctx context.Context, conn *pgx.Conn, name string, progress Progress) (r Restored, err error) {
	file, err := os.Open(name)
	if err != nil {
		return r, err
	}
	defer file.Close()
	if err := alone(ctx, conn); err != nil {
		return r, err
	}
	defer notAlone(ctx, conn)
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		r, err = fill(ctx, tx, file, progress)
		return err
	})
	return r, err
}

const filesSQL = `
select distinct archive
from detached
where archive is not null
order by archive`

// Files are the files of the months that are archived. Any of the roles may ask.
func Files(ctx context.Context, pool *pgxpool.Pool) ([]string, error) {
	rows, err := pool.Query(ctx, filesSQL)
	if err != nil {
		return nil, fmt.Errorf("list the archives: %w", err)
	}
	files, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list the archives: %w", err)
	}
	return files, nil
}

const notedHashSQL = `
select coalesce(max(sha256), '')
from detached
where partition = $1`

// fill makes a month of what is in a file, and attaches it.
func fill(ctx context.Context, tx pgx.Tx, file io.Reader, progress Progress) (r Restored, err error) {
	from, err := newReader(file)
	if err != nil {
		return r, err
	}
	defer from.close()
	m := Month{Partition: from.header.Partition, From: from.header.From, To: from.header.To}
	was := End{}
	if err := tx.QueryRow(ctx, wasDetachedSQL, m.Partition).Scan(&was.Messages, &was.First, &was.Last); err != nil {
		return r, err
	}
	if err := tx.QueryRow(ctx, notedHashSQL, m.Partition).Scan(&was.SHA256); err != nil {
		return r, err
	}
	if was.Messages == 0 {
		return r, missing(ctx, tx, m.Partition)
	}
	if err := create(ctx, tx, m); err != nil {
		return r, err
	}
	rows := &source{from: from, progress: func(n int64) { progress("fill", n, was.Messages) }}
	columns := []string{"position", "source", "channel", "sequence", "stamped_at", "received_at", "original", "payload"}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"public", m.Partition}, columns, rows); err != nil {
		return r, cmp.Or(rows.Err(), err) // what the server says of a file is nothing but that there was no more
	}
	r = Restored{Partition: m.Partition, End: from.end}
	if was.SHA256 == "" { // by a database that was restored from a dump of before
		was.SHA256 = r.SHA256
	}
	if was != r.End {
		return r, ErrNotNoted
	}
	progress("attach", 0, 1)
	err = patiently(ctx, func() error { // what was filled stays meanwhile
		return pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return attach(ctx, tx, m) })
	})
	if err != nil {
		return r, err
	}
	progress("attach", 1, 1)
	r.LeftBehind, err = leftBehind(ctx, tx, r.Last)
	return r, err
}

const inLogSQL = `select exists (select from pg_inherits where inhparent = 'public.inbox'::regclass and inhrelid = to_regclass($1))`

// missing says why nothing is noted about a month.
func missing(ctx context.Context, tx pgx.Tx, partition string) error {
	var inLog bool
	if err := tx.QueryRow(ctx, inLogSQL, table(partition)).Scan(&inLog); err != nil {
		return err
	}
	if inLog {
		return ErrInLog
	}
	return ErrNotNoted
}

// create makes a table for the messages of a month, which is no part of the log yet. Its constraint spares attaching it
// the reading of all rows.
func create(ctx context.Context, tx pgx.Tx, m Month) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		create table %s (
			like public.inbox including defaults including indexes,
			constraint of_its_month check (stamped_at >= '%s' and stamped_at < '%s')
		)`, table(m.Partition), m.From.Format(time.RFC3339Nano), m.To.Format(time.RFC3339Nano)))
	return err
}

const attachSQL = `select attach_inbox_partition($1, $2, $3)`

// attach makes the table a part of the log.
func attach(ctx context.Context, tx pgx.Tx, m Month) error {
	if _, err := tx.Exec(ctx, attachSQL, m.Partition, m.From, m.To); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `alter table `+table(m.Partition)+` drop constraint of_its_month`)
	return err
}

const currentSQL = `
select name
from generations
where state = 'current'
    and to_regnamespace(name) is not null`

// leftBehind says whether the generation in service has no verdict of a message that it has passed.
func leftBehind(ctx context.Context, tx pgx.Tx, position int64) (left bool, err error) {
	var name string
	err = tx.QueryRow(ctx, currentSQL).Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	in := func(table string) string {
		return `exists (select from ` + pgx.Identifier{name, table}.Sanitize() + ` where position = $1)`
	}
	err = tx.QueryRow(ctx, `select not (`+in("orders")+` or `+in("duplicates")+` or `+in("dead_letters")+`)`, position).Scan(&left)
	return left, err
}

// source gives the messages of a file to COPY, and their number so far to progress.
type source struct {
	from     *reader
	progress func(n int64)
	row      message
	err      error
}

// Next reads the next message.
func (s *source) Next() bool {
	if s.from.end.Messages%portion == 0 {
		s.progress(s.from.end.Messages)
	}
	s.row, s.err = s.from.next()
	return s.err == nil
}

// Values are the columns of the message.
func (s *source) Values() ([]any, error) {
	m := &s.row
	payload := m.payload
	if payload == nil {
		payload = []byte{} // a nil slice would be stored as null
	}
	return []any{m.position, m.source, m.channel, m.sequence, m.stampedAt, m.receivedAt, m.original, payload}, nil
}

// Err is what ended the messages, if it is not their end.
func (s *source) Err() error {
	if errors.Is(s.err, io.EOF) {
		return nil
	}
	return s.err
}
