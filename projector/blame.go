package projector

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// blamesMessage lists the SQLSTATE classes, and single codes, that mean that the data at hand cannot be
// stored. Everything else, errors that are none of PostgreSQL's included, is the world's: it makes a
// retry and never a dead letter (law 5).
// See https://www.postgresql.org/docs/current/errcodes-appendix.html.
func blamesMessage(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || len(pgErr.Code) != 5 {
		return false
	}
	switch pgErr.Code[:2] {
	case "22", // data exception: out of range, invalid byte sequence, …
		"23", // integrity constraint violation
		"P0", // raised by a trigger
		"44": // with check option violation
		return true
	}
	return pgErr.Code == "54000" // program limit exceeded: a value too large for an index
}

// sqlState is the code of a PostgreSQL error, which unlike its text quotes no data.
func sqlState(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}
