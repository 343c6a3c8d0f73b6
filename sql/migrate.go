package sql

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Generation is the DDL of the tables right of the inbox, to be run as a whole into a new schema that
// is first in the search path.
//
//go:embed generation.sql
var Generation string

// MigrateOptions says where to migrate and what the service will log in with.
type MigrateOptions struct {
	// AdminURL is any database of the cluster, as a role that may create roles and databases.
	AdminURL string
	// Database is the name of the database to create or upgrade.
	Database string
	// Password is what the role orderbox will log in with; empty leaves the role's password alone.
	Password string
	// ReaderPassword is the same for orderbox_reader.
	ReaderPassword string
}

// Migrate creates or upgrades the roles, the database and the tables of the log, and returns the
// version the database then has. It may run any number of times and in several processes at once.
func Migrate(ctx context.Context, o MigrateOptions) (version int64, err error) {
	admin, err := pgx.ParseConfig(o.AdminURL)
	if err != nil {
		return 0, errors.New("the administrator's database URL cannot be parsed") // pgx's text may quote the password
	}
	chooseHost(admin, o.AdminURL)
	conn, err := pgx.ConnectConfig(ctx, admin)
	if err != nil {
		return 0, fmt.Errorf("connect as administrator: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := prepareCluster(ctx, conn, o); err != nil {
		return 0, err
	}

	owner := admin.Copy()
	owner.Database = o.Database
	if version, err = upgrade(ctx, owner); err != nil {
		return 0, fmt.Errorf("migrate database %s: %w", o.Database, err)
	}
	return version, nil
}

const lockClusterSQL = `select pg_advisory_lock(hashtext('orderbox cluster'))`

const unlockClusterSQL = `select pg_advisory_unlock(hashtext('orderbox cluster'))`

// Roles are cluster-wide and may be there from another database.
const createRolesSQL = `
do $$
declare
    wanted text;
begin
    foreach wanted in array array['orderbox_owner', 'orderbox', 'orderbox_reader'] loop
        if not exists (select from pg_roles where rolname = wanted) then
            execute format('create role %I', wanted);
        end if;
    end loop;
end $$`

const databaseExistsSQL = `select exists (select from pg_database where datname = $1)`

// prepareCluster makes the roles and the database. It holds a lock meanwhile: create role and create
// database know no "if not exists" that is safe under concurrency.
func prepareCluster(ctx context.Context, conn *pgx.Conn, o MigrateOptions) error {
	if _, err := conn.Exec(ctx, lockClusterSQL); err != nil {
		return fmt.Errorf("lock the cluster: %w", err)
	}
	defer conn.Exec(context.WithoutCancel(ctx), unlockClusterSQL)

	if _, err := conn.Exec(ctx, createRolesSQL); err != nil {
		return fmt.Errorf("create roles: %w", err)
	}
	// The administrator acts as the owner; the owner sets the service's default privileges.
	if _, err := conn.Exec(ctx, `grant orderbox_owner to current_user; grant orderbox to orderbox_owner`); err != nil {
		return fmt.Errorf("grant roles: %w", err)
	}
	for role, password := range map[string]string{"orderbox": o.Password, "orderbox_reader": o.ReaderPassword} {
		if err := setPassword(ctx, conn, role, password); err != nil {
			return err
		}
	}

	var exists bool
	if err := conn.QueryRow(ctx, databaseExistsSQL, o.Database).Scan(&exists); err != nil {
		return fmt.Errorf("look for database %s: %w", o.Database, err)
	}
	if !exists {
		name := pgx.Identifier{o.Database}.Sanitize()
		if _, err := conn.Exec(ctx, `create database `+name+` owner orderbox_owner encoding 'UTF8' template template0`); err != nil {
			return fmt.Errorf("create database %s: %w", o.Database, err)
		}
	}
	return GrantDatabase(ctx, conn, o.Database)
}

// GrantDatabase gives the roles what they need on the database as such. Unlike the grants on tables,
// these do not come along when a database is made from a template.
func GrantDatabase(ctx context.Context, conn *pgx.Conn, database string) error {
	name := pgx.Identifier{database}.Sanitize()
	_, err := conn.Exec(ctx, `
		revoke all on database `+name+` from public;
		grant connect on database `+name+` to orderbox, orderbox_reader;
		grant create on database `+name+` to orderbox`) // for the generations' schemas
	if err != nil {
		return fmt.Errorf("grant database %s: %w", database, err)
	}
	return nil
}

// upgrade runs the migrations as orderbox_owner, so that it owns what they create.
func upgrade(ctx context.Context, config *pgx.ConnConfig) (int64, error) {
	config.RuntimeParams["role"] = "orderbox_owner"
	config.RuntimeParams["application_name"] = "orderbox migrate"
	db := stdlib.OpenDB(*config)
	defer db.Close()

	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return 0, err
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return 0, err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return 0, err
	}
	if _, err := provider.Up(ctx); err != nil {
		return 0, err
	}
	return provider.GetDBVersion(ctx)
}

// Version is the migration that the newest file brings a database to.
func Version() int64 {
	files, err := migrations.ReadDir("migrations")
	if err != nil || len(files) == 0 {
		panic("sql: no migrations embedded")
	}
	version, err := goose.NumericComponent(files[len(files)-1].Name())
	if err != nil {
		panic(err)
	}
	return version
}

const versionSQL = `
select coalesce(max(version_id), 0)
from goose_db_version
where is_applied`

// ErrNotMigrated says that the database has no tables of Orderbox yet, or older ones than this program.
var ErrNotMigrated = errors.New("the database is not migrated to this version")

// ErrEncoding says that the database cannot hold every character.
var ErrEncoding = errors.New("the database's encoding is not UTF8: make it anew with encoding 'UTF8'")

const encodingSQL = `select current_setting('server_encoding')`

// CheckVersion returns an error that is ErrNotMigrated when the database was never migrated or is older
// than this program needs, and ErrEncoding when it is not in UTF-8. A newer one is accepted: migrations
// only add.
func CheckVersion(ctx context.Context, pool *pgxpool.Pool) error {
	var encoding string
	if err := pool.QueryRow(ctx, encodingSQL).Scan(&encoding); err != nil {
		return fmt.Errorf("read the database's encoding: %w", err)
	}
	if encoding != "UTF8" {
		return ErrEncoding
	}
	var have int64
	err := pool.QueryRow(ctx, versionSQL).Scan(&have)
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == "42P01" {
		return ErrNotMigrated
	}
	if err != nil {
		return fmt.Errorf("read the database's version: %w", err)
	}
	if have < Version() {
		return fmt.Errorf("%w: it is at %d, this program needs %d", ErrNotMigrated, have, Version())
	}
	return nil
}
