package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/internal/bench/world"
	"orderbox/sql"
)

// table is rows as COPY writes and reads them, for one transaction.
type table struct {
	name, columns string // columns with parentheses, or empty for all
	rows          bytes.Buffer
}

// read takes the rows that a query gives out of the database.
func (t *table) read(ctx context.Context, conn *pgx.Conn, query string) error {
	if _, err := conn.PgConn().CopyTo(ctx, &t.rows, `copy (`+query+`) to stdout (format binary)`); err != nil {
		return fmt.Errorf("read %s: %w", t.name, err)
	}
	return nil
}

// write copies transactions into the tables of the schema raw, each as one, and says how long that took.
func write(ctx context.Context, conn *pgx.Conn, transactions [][]*table) (time.Duration, error) {
	if _, err := conn.Exec(ctx, `set search_path = raw, public`); err != nil {
		return 0, err
	}
	defer conn.Exec(context.WithoutCancel(ctx), `set search_path = public`)
	started := time.Now()
	for _, tables := range transactions {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			for _, t := range tables {
				if _, err := conn.PgConn().CopyFrom(ctx, &t.rows, `copy raw.`+t.name+t.columns+` from stdin (format binary)`); err != nil {
					return fmt.Errorf("copy into %s: %w", t.name, err)
				}
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return time.Since(started), nil
}

// prepareRaw makes the schema raw, with tables as the service has them: the log's, or those of a generation. They are
// kept from round to round and grow as the service's do.
func prepareRaw(ctx context.Context, w *world.World) error {
	var there bool
	if err := w.Conn.QueryRow(ctx, `select to_regnamespace('raw') is not null`).Scan(&there); err != nil || there {
		return err
	}
	defer w.Conn.Exec(context.WithoutCancel(ctx), `set search_path = public`)
	for _, statement := range []string{
		`create schema raw`,
		`create table raw.inbox (like public.inbox including all) partition by range (stamped_at)`,
		`create table raw.inbox_other partition of raw.inbox default`,
		`create table raw.inserted (like public.inbox including all) partition by range (stamped_at)`,
		`create table raw.inserted_other partition of raw.inserted default`,
		`set search_path = raw`,
		sql.Generation,
	} {
		if _, err := w.Conn.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("make the tables for raw COPY: %w", err)
		}
	}
	return nil
}
