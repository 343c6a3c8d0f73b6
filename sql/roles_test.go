package sql_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderbox/internal/testservers"
)

// deeds are tried on every table, in this order: %[1]s is the table, %[2]s one of its columns.
var deeds = []struct{ name, statement string }{
	{"select", `select count(*) from %[1]s`},
	{"insert", `insert into %[1]s default values`},
	{"update", `update %[1]s set %[2]s = default where false`},
	{"delete", `delete from %[1]s where false`},
	{"truncate", `truncate %[1]s`},
	{"alter", `alter table %[1]s add column sneaky integer`},
	{"index", `create index on %[1]s (%[2]s)`},
	{"trigger", `create trigger sneaky before insert on %[1]s execute function suppress_redundant_updates_trigger()`},
	{"drop", `drop table %[1]s cascade`},
}

const everything = "select insert update delete truncate alter index trigger drop"

// rights says what each role may do with a table. There is no table but these, and those of generations.
var rights = map[string]struct{ service, reader string }{
	"public.inbox":            {service: "select insert", reader: "select"},
	"a partition of it":       {},
	"public.copies":           {service: "select insert", reader: "select"},
	"public.schemas":          {service: "select insert", reader: "select"},
	"public.decisions":        {service: "select insert", reader: "select"},
	"public.detached":         {service: "select", reader: "select"},
	"public.generations":      {service: "select insert update delete", reader: "select"},
	"public.goose_db_version": {service: "select", reader: "select"},
	"one of a generation":     {service: everything, reader: "select"},
}

const tablesSQL = `
select n.nspname || '.' || c.relname as name, c.relispartition as is_partition, n.nspname like 'generation%' as is_generated,
	(select quote_ident(a.attname) from pg_attribute a
	where a.attrelid = c.oid and a.attnum > 0 and a.attgenerated = '' and a.attidentity = '' limit 1) as column
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname not in ('pg_catalog', 'information_schema')`

type table struct {
	Name                     string
	IsPartition, IsGenerated bool
	Column                   string
}

func TestEachRoleMayDoWhatItMustAndNothingElse(t *testing.T) {
	t.Parallel()
	db := mustGeneration(t)
	admin, service, reader := mustConnect(t, db.AdminURL), mustConnect(t, db.ServiceURL), mustConnect(t, db.ReaderURL)
	rows, err := admin.Query(t.Context(), tablesSQL)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByName[table])
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, table := range tables {
		kind := table.Name
		switch {
		case table.IsPartition:
			kind = "a partition of it"
		case table.IsGenerated:
			kind = "one of a generation"
		}
		want, known := rights[kind]
		if !known {
			t.Errorf("%s: say in this test who may do what with it", table.Name)
			continue
		}
		seen[kind] = true
		for role, want := range map[string]string{"orderbox": want.service, "orderbox_reader": want.reader} {
			conn := service
			if role == "orderbox_reader" {
				conn = reader
			}
			for _, deed := range deeds {
				got := allowed(t, conn, fmt.Sprintf(deed.statement, table.Name, table.Column))
				if may := slices.Contains(strings.Fields(want), deed.name); got != may {
					t.Errorf("%s may %s %s: %t, want %t", role, deed.name, table.Name, got, may)
				}
			}
		}
	}
	if len(seen) != len(rights) {
		t.Errorf("tables of these kinds alone: %v", seen)
	}
}

// allowed says whether a role may do something: whatever else is wrong with a statement, it was not refused for want of rights.
// Nothing of it stays.
func allowed(t *testing.T, conn *pgx.Conn, statement string) bool {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	_, err = tx.Exec(t.Context(), statement)
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if err != nil && !ok {
		t.Fatalf("%s: %v", statement, err)
	}
	return !ok || refused.Code != "42501"
}

func TestNoRoleReachesBeyondItsDatabase(t *testing.T) {
	t.Parallel()
	db := testservers.Database(t)
	for role, url := range map[string]string{"orderbox": db.ServiceURL, "orderbox_reader": db.ReaderURL} {
		conn := mustConnect(t, url)
		for _, statement := range []string{
			`create table public.sneaky (x integer)`,
			`create temporary table sneaky (x integer)`,
			`create function public.sneaky() returns integer language sql as 'select 1'`,
			`create view public.sneaky as select 1`,
			`create role sneaky`,
			`alter role ` + role + ` superuser`,
			`alter database ` + conn.Config().Database + ` set search_path = sneaky`,
			`alter schema public rename to sneaky`,
			`alter function public.prepare_inbox_partitions(integer) security invoker`,
			`alter default privileges for role orderbox_owner grant all on tables to public`,
			`set role orderbox_owner`,
			`set session_replication_role = replica`,
			`copy (select 1) to program 'id'`,
			`copy public.inbox (payload) from '/etc/passwd'`,
			`select pg_read_file('/etc/passwd')`,
			`select lo_import('/etc/passwd')`,
			`select passwd from pg_shadow`,
			`select pg_reload_conf()`,
		} {
			if allowed(t, conn, statement) {
				t.Errorf("%s may: %s", role, statement)
			}
		}
		// Never in a transaction.
		_, err := conn.Exec(t.Context(), `alter system set archive_command = 'id'`)
		if refused, ok := errors.AsType[*pgconn.PgError](err); !ok || refused.Code != "42501" {
			t.Errorf("%s alters the system: %v", role, err)
		}
	}
	reader := mustConnect(t, db.ReaderURL)
	for _, statement := range []string{`create schema sneaky`, `select public.prepare_inbox_partitions(1)`, `select public.detach_inbox_partition('inbox_other')`} {
		if allowed(t, reader, statement) {
			t.Errorf("the reader may: %s", statement)
		}
	}
}

// A function that runs as its owner must not find a table or an operator that its caller made, and not be everybody's.
const carelessFunctionsSQL = `
select p.oid::regprocedure::text
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname not in ('pg_catalog', 'information_schema') and p.prosecdef
	and (coalesce(array_to_string(p.proconfig, ';'), '') !~ '(^|;)search_path=pg_catalog, public, pg_temp(;|$)'
		or exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) where grantee = 0))`

const definerFunctionsSQL = `
select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname not in ('pg_catalog', 'information_schema') and p.prosecdef`

const mightyRolesSQL = `
select rolname from pg_roles
where rolname like 'orderbox%'
	and (rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls or rolname = 'orderbox_owner' and rolcanlogin)
union all
select r.rolname || ' as a member' from pg_auth_members m join pg_roles r on r.oid = m.member
where r.rolname in ('orderbox', 'orderbox_reader')`

func TestWhatRunsAsAnotherIsCarefulAndNoRoleIsMighty(t *testing.T) {
	t.Parallel()
	admin := mustConnect(t, testservers.Database(t).AdminURL)
	for what, query := range map[string]string{"runs as its owner and is careless": carelessFunctionsSQL, "is mightier than it need be": mightyRolesSQL} {
		rows, err := admin.Query(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(names) > 0 {
			t.Errorf("%v %s: %v", names, what, err)
		}
	}
	var n int
	if err := admin.QueryRow(t.Context(), definerFunctionsSQL).Scan(&n); err != nil || n == 0 {
		t.Errorf("%d functions run as their owner, %v: does this test still find them?", n, err)
	}
}
