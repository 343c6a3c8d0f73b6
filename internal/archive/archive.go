package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Suffix is how the file of a month ends; before it stands the partition's name.
const Suffix = ".ndjson.zst"

// Progress is told now and then how far a step is: write, compare and drop, or fill and attach. The unit is the step's own.
type Progress func(step string, done, total int64)

// ErrBusy says that another process archives or restores.
var ErrBusy = errors.New("another process archives or restores a month")

// ErrTaken says that the name of the file that would be written is that of another one.
var ErrTaken = errors.New("is there already, and is not this month as the log has it")

// ErrChanged says that a message came into the month while it was archived. Nothing was changed.
var ErrChanged = errors.New("a message came into the month meanwhile")

// Archive writes a month of Months, of which nothing says why not, to a file in a directory, drops its table, and returns
// what the file's last line says. The month's File says the file's name then. What it was interrupted in, it does
// again when it is called again; until it returns nil the month may be in the log still.
func Archive(ctx context.Context, conn *pgx.Conn, m *Month, dir string, progress Progress) (end End, err error) {
	if end, err = archive(ctx, conn, m, dir, progress); err != nil {
		return End{}, fmt.Errorf("archive %s: %w", m.Partition, err)
	}
	return end, nil
}

func archive(ctx context.Context, conn *pgx.Conn, m *Month, dir string, progress Progress) (end End, err error) {
	if err := alone(ctx, conn); err != nil {
		return End{}, err
	}
	defer notAlone(ctx, conn)
	file, err := filepath.Abs(filepath.Join(dir, m.Partition+Suffix))
	if err != nil {
		return End{}, err
	}
	if m.State == InOther {
		if err := takeOut(ctx, conn, m); err != nil {
			return End{}, err
		}
	}
	written := false
	switch _, err = os.Stat(file); {
	case errors.Is(err, fs.ErrNotExist):
		written = true
		end, err = save(ctx, conn, *m, file, progress)
	case err == nil: // of an earlier attempt, or of a month that was restored
		end, err = check(ctx, conn, *m, file, progress)
	}
	if err != nil {
		return End{}, err
	}
	if err := patiently(ctx, func() error { return drop(ctx, conn, *m, file, end, progress) }); err != nil {
		if written && isRefused(err) {
			os.Remove(file) // it lacks what came meanwhile, and would be in the way of the next
		}
		return End{}, err
	}
	m.State, m.File, m.SHA256, m.Messages, m.Bytes = Archived, file, end.SHA256, end.Messages, 0
	return end, nil
}

const (
	aloneSQL    = `select pg_try_advisory_lock(hashtext('orderbox archive'))`
	notAloneSQL = `select pg_advisory_unlock(hashtext('orderbox archive'))`
)

func alone(ctx context.Context, conn *pgx.Conn) error {
	var got bool
	if err := conn.QueryRow(ctx, aloneSQL).Scan(&got); err != nil {
		return err
	}
	if !got {
		return ErrBusy
	}
	return nil
}

// notAlone lets go of the lock; a connection that is closed has done so.
func notAlone(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, _ = conn.Exec(ctx, notAloneSQL)
}

// takeOut makes a partition of a month whose messages came before there was one.
func takeOut(ctx context.Context, conn *pgx.Conn, m *Month) error {
	err := patiently(ctx, func() error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if err := create(ctx, tx, *m); err != nil {
				return err
			}
			return attach(ctx, tx, *m)
		})
	})
	if err != nil {
		return fmt.Errorf("take it out of inbox_other: %w", err)
	}
	m.State = InLog
	return nil
}

// save writes the file. It has its name only when it was read back and is what the table holds.
func save(ctx context.Context, conn *pgx.Conn, m Month, file string, progress Progress) (end End, err error) {
	unnamed := file + ".part"
	defer func() {
		if err != nil {
			os.Remove(unnamed)
		}
	}()
	written, err := write(ctx, conn, m, unnamed, progress)
	if err != nil {
		return End{}, fmt.Errorf("write %s: %w", unnamed, err)
	}
	// What came behind that since is noticed when the month is detached.
	if end, err = compare(ctx, conn, m, written.Last, unnamed, progress); err != nil {
		return End{}, fmt.Errorf("read %s back: %w", unnamed, err)
	}
	if err := os.Rename(unnamed, file); err != nil {
		return End{}, err
	}
	return end, syncDir(filepath.Dir(file))
}

// write writes all messages of a month, durably.
func write(ctx context.Context, conn *pgx.Conn, m Month, name string, progress Progress) (end End, err error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // people's data is in it
	if err != nil {
		return End{}, err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	w, err := newWriter(file, Header{Archive: archiveOf, Format: format, Partition: m.Partition, From: m.From, To: m.To})
	if err != nil {
		return End{}, err
	}
	upTo, err := last(ctx, conn, m)
	if err == nil {
		err = each(ctx, conn, m, upTo, "write", progress, w.write)
	}
	if err != nil {
		return End{}, err
	}
	if end, err = w.close(); err != nil {
		return End{}, err
	}
	return end, file.Sync()
}

// check compares a file that is there with the table.
func check(ctx context.Context, conn *pgx.Conn, m Month, file string, progress Progress) (End, error) {
	upTo, err := last(ctx, conn, m)
	if err != nil {
		return End{}, err
	}
	end, err := compare(ctx, conn, m, upTo, file, progress)
	switch {
	case errors.Is(err, errOther) || errors.Is(err, ErrDamaged):
		return End{}, fmt.Errorf("%s %w", file, ErrTaken)
	case err != nil:
		return End{}, err
	}
	return end, syncFile(file) // whoever wrote it may have been killed before
}

var errOther = errors.New("it holds other messages than the table")

// compare reads a file and the table up to a position side by side, and returns the end of the file when all is the same.
func compare(ctx context.Context, conn *pgx.Conn, m Month, upTo int64, name string, progress Progress) (End, error) {
	file, err := os.Open(name)
	if err != nil {
		return End{}, err
	}
	defer file.Close()
	r, err := newReader(file)
	if err != nil {
		return End{}, err
	}
	defer r.close()
	if r.header.Partition != m.Partition || !r.header.From.Equal(m.From) || !r.header.To.Equal(m.To) {
		return End{}, errOther
	}
	err = each(ctx, conn, m, upTo, "compare", progress, func(row message) error {
		saved, err := r.next()
		if errors.Is(err, io.EOF) || err == nil && !saved.equal(row) {
			return errOther
		}
		return err
	})
	if err != nil {
		return End{}, err
	}
	if _, err := r.next(); err == nil {
		return End{}, errOther
	} else if !errors.Is(err, io.EOF) {
		return End{}, err
	}
	return r.end, nil
}

// portion is how many messages are asked for at a time: no statement takes long, or goes on when its reader has seen enough.
const portion = 1000

// each calls f with the messages of a month up to a position, in the order of positions, as they come from the server.
func each(ctx context.Context, conn *pgx.Conn, m Month, upTo int64, step string, progress Progress, f func(message) error) error {
	var first, at int64
	if err := conn.QueryRow(ctx, `select coalesce(min(position), 1) from `+table(m.Partition)).Scan(&first); err != nil {
		return err
	}
	var row message
	scan := []any{&row.position, &row.source, &row.channel, &row.sequence, &row.stampedAt, &row.receivedAt, &row.original, &row.payload}
	for {
		progress(step, max(at-first+1, 0), upTo-first+1)
		rows, err := conn.Query(ctx, `
			select position, source, channel, sequence, stamped_at, received_at, original, payload
			from `+table(m.Partition)+`
			where position > $1
				and position <= $2
			order by position
			limit $3`, at, upTo, portion)
		if err != nil {
			return err
		}
		n := 0
		_, err = pgx.ForEachRow(rows, scan, func() error {
			n++
			return f(row)
		})
		if err != nil || n < portion {
			return err
		}
		at = row.position
	}
}

// last is the last position of a month.
func last(ctx context.Context, conn *pgx.Conn, m Month) (position int64, err error) {
	err = conn.QueryRow(ctx, `select coalesce(max(position), 0) from `+table(m.Partition)).Scan(&position)
	return position, err
}

const wasDetachedSQL = `
select coalesce(sum(messages), 0)::bigint, coalesce(min(first), 0), coalesce(max(last), 0)
from detached
where partition = $1`

const noteArchiveSQL = `
update detached
set archive = $2, sha256 = $3
where partition = $1`

const detachSQL = `select detach_inbox_partition($1)`

// drop takes the month out of the log, if what was in it is what is in the file. One transaction: before it commits all is in
// the log, and then all is in the file.
func drop(ctx context.Context, conn *pgx.Conn, m Month, file string, end End, progress Progress) error {
	progress("drop", 0, 1)
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if m.State == InLog {
			if _, err := tx.Exec(ctx, detachSQL, m.Partition); err != nil {
				return err
			}
		}
		was := End{SHA256: end.SHA256}
		if err := tx.QueryRow(ctx, wasDetachedSQL, m.Partition).Scan(&was.Messages, &was.First, &was.Last); err != nil {
			return err
		}
		if was != end {
			return ErrChanged
		}
		if _, err := tx.Exec(ctx, noteArchiveSQL, m.Partition, file, end.SHA256); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `drop table `+table(m.Partition)); err != nil {
			return err
		}
		progress("drop", 1, 1)
		return nil
	})
}

// isRefused says that nothing was committed for certain: what the functions and the locks of the transaction refuse comes before
// its end, and the answer to a commit may be any other error, a shutdown's for one.
func isRefused(err error) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return errors.Is(err, ErrChanged) || ok && slices.Contains([]string{"P0001", "55P03", "40P01"}, refused.Code)
}

const (
	attempts   = 10
	pauseAfter = 2 * time.Second
)

// patiently does again what failed only because others held their locks.
func patiently(ctx context.Context, f func() error) (err error) {
	for range attempts {
		err = f()
		refused, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || refused.Code != "55P03" { // lock_not_available
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pauseAfter):
		}
	}
	return err
}

// syncFile makes a file and its name durable.
func syncFile(name string) error {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close(), syncDir(filepath.Dir(name)))
}

// syncDir makes a new name in a directory durable. Windows has no such thing.
func syncDir(name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
