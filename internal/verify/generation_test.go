package verify

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderbox/sql"
)

// columnsOf are the columns of a table of g1 that can be written.
func (l log) columnsOf(t *testing.T, table string) []string {
	t.Helper()
	rows, err := l.admin.Query(t.Context(), `select quote_ident(attname) from pg_attribute
		where attrelid = ('g1.' || $1)::regclass and attnum > 0 and attgenerated = '' and not attisdropped order by attnum`, table)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// tablesOf are those of g1, as the catalogue has them.
func (l log) tablesOf(t *testing.T) []string {
	t.Helper()
	rows, err := l.admin.Query(t.Context(), `select relname from pg_class
		where relnamespace = 'g1'::regnamespace and relkind = 'r' order by relname`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// mustClone makes a trial with the rows of g1, the last ones first. It has no foreign keys, so that any
// row may be changed alone.
func (l log) mustClone(t *testing.T, name string) {
	t.Helper()
	var statements strings.Builder
	statements.WriteString(`create schema ` + name + `; grant usage on schema ` + name + ` to orderbox_reader;
		set search_path = ` + name + `, public;` + sql.Generation + `;
		delete from checkpoint;
		insert into generations (name, fingerprint, state) values ('` + name + `', 'abc', 'trial');
		grant select on all tables in schema ` + name + ` to orderbox_reader;
		do $$ declare key record; begin
			for key in select conrelid::regclass as place, conname from pg_constraint
				where contype = 'f' and connamespace = '` + name + `'::regnamespace
			loop execute format('alter table %s drop constraint %I', key.place, key.conname); end loop;
		end $$;`)
	for _, table := range l.tablesOf(t) {
		columns := strings.Join(l.columnsOf(t, table), ", ")
		statements.WriteString(`insert into ` + table + ` (` + columns + `) select ` + columns + ` from g1.` + table + ` order by 1 desc;`)
	}
	l.must(t, statements.String()+`reset search_path`)
}

// changed has another value in one column of g2's table, in the row that comes first, and no keys that
// could be against it. unchanged undoes it.
func (l log) changed(t *testing.T, table, column string) string {
	t.Helper()
	var kind string
	err := l.admin.QueryRow(t.Context(), `select format_type(atttypid, atttypmod) from pg_attribute
		where attrelid = ('g1.' || $1)::regclass and quote_ident(attname) = $2`, table, column).Scan(&kind)
	if err != nil {
		t.Fatal(err)
	}
	other := map[string]string{
		"text": `'7'`, "bigint": `7`, "integer": `7`, "boolean": `not ` + column, "bytea": `'\x01'`, "jsonb": `'[1]'`,
		"timestamp with time zone": `'2001-01-01Z'`,
	}[kind]
	columns := l.columnsOf(t, table)
	values := slices.Clone(columns)
	values[slices.Index(columns, column)] = `case when row_number() over () > 1 then ` + column + ` else ` + other + ` end`
	return `alter table g2.` + table + ` rename to kept;
		create table g2.` + table + ` (like g2.kept including defaults including generated);
		grant select on g2.` + table + ` to orderbox_reader;
		insert into g2.` + table + ` (` + strings.Join(columns, ", ") + `) select ` + strings.Join(values, ", ") + ` from g2.kept`
}

func unchanged(table string) string {
	return `drop table g2.` + table + `; alter table g2.kept rename to ` + table
}
