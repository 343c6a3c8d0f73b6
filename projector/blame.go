package projector

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// storing marks an error as that of a statement that takes a message's data. No other can be a message's
// fault: a commit or a notification fails with the same codes when the server is at its limits.
type storing struct{ error }

func (s storing) Unwrap() error { return s.error }

// blamesMessage lists the SQLSTATE classes that mean, while data is stored, that this data cannot be.
// Everything else, errors that are none of PostgreSQL's included, is the world's: it makes a retry and
// never a dead letter (law 5).
// See https://www.postgresql.org/docs/current/errcodes-appendix.html.
func blamesMessage(err error) bool {
	_, stores := errors.AsType[storing](err)
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !stores || !ok || len(pgErr.Code) != 5 {
		return false
	}
	switch pgErr.Code[:2] {
	case "22", // data exception: out of range, invalid byte sequence, …
		"23", // integrity constraint violation
		"P0", // raised by a trigger
		"44": // with check option violation
		return true
	}
	// A value too long for an index. Where the server itself is at a limit it says the same, such as that it is out of
	// transaction ids, but of the checkpoint, which comes first and is not data that is stored.
	return pgErr.Code == "54000"
}

// sqlState is the code of a PostgreSQL error, which unlike its text quotes no data.
func sqlState(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code
	}
	return ""
}
