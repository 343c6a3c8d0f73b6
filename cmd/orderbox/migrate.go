package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"orderbox/internal/cli"
	"orderbox/sql"
)

type migrateCommand struct {
	dataFlags
	databaseFlags
	adminFlags
	ReaderPassword string `name:"reader-password" env:"ORDERBOX_READER_PASSWORD" help:"Lets the role orderbox_reader, which may only read, log in with it." placeholder:"PASSWORD"`
}

// Help is the text behind --help.
func (migrateCommand) Help() string {
	return `The database URL says what shall be: the database's name, and the password that the service's role
orderbox logs in with. The administrator's URL is used to make it so. It can be run again at any time.

Example:
  orderbox migrate --admin-url postgres://postgres:ADMIN@db:5432/postgres \
      --database-url postgres://orderbox:SECRET@db:5432/orderbox`
}

// Run brings the database to this program's version.
func (c *migrateCommand) Run(ctx context.Context, s cli.Streams) error {
	if err := c.databaseFlags.check(); err != nil {
		return err
	}
	if err := c.adminFlags.check(); err != nil {
		return err
	}
	o, err := migrateOptions(c.AdminURL, c.DatabaseURL)
	if err != nil {
		return err
	}
	o.ReaderPassword = c.ReaderPassword
	version, err := sql.Migrate(ctx, o)
	if err != nil {
		return cli.Try(err, "check that the administrator's URL is right and may create roles and databases")
	}
	fmt.Fprintf(s.Out, "database %s is at version %d\n", o.Database, version)
	return nil
}

// migrateOptions reads out of the service's URL which database and which password it wants.
func migrateOptions(adminURL, serviceURL string) (o sql.MigrateOptions, err error) {
	u, err := url.Parse(serviceURL)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") || len(u.Path) < 2 {
		return o, cli.Try(errors.New("the database URL must name a database"), "postgres://orderbox:PASSWORD@HOST:5432/orderbox")
	}
	if u.User.Username() != "orderbox" {
		return o, cli.Try(fmt.Errorf("the service logs in as the role orderbox, not %q", u.User.Username()),
			"postgres://orderbox:PASSWORD@HOST:5432/orderbox")
	}
	password, _ := u.User.Password()
	return sql.MigrateOptions{AdminURL: adminURL, Database: strings.TrimPrefix(u.Path, "/"), Password: password}, nil
}
