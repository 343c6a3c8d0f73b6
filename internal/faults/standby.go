package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"

	"orderbox/internal/testservers"
)

// Replication is how a standby follows the database.
type Replication string

// What a commit waits for.
const (
	Unreplicated Replication = ""             // there is no standby
	Asynchronous Replication = "asynchronous" // nothing
	Synchronous  Replication = "synchronous"  // the standby has it on its disk
)

// standbyName is what the primary knows the standby by.
const standbyName = "standby"

// A standby begins with a copy of the primary's data, once, and needs nothing of an image but PostgreSQL's programs.
const standbyScript = `set -eu
install -d -o postgres -g postgres -m 0700 "$PGDATA"
as_postgres() { exec setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	(as_postgres pg_basebackup --dbname='host=primary user=postgres application_name=` + standbyName + `' \
		--pgdata="$PGDATA" --write-recovery-conf --checkpoint=fast)
fi
as_postgres postgres "$@"`

// databases are the servers that there are, the first primary first.
func (w *World) databases() []*server {
	if w.standby == nil {
		return []*server{w.database}
	}
	return []*server{w.database, w.standby}
}

// startStandby makes a hot standby of the database, which must be there.
func (w *World) startStandby(ctx context.Context, settings []string, mode Replication) error {
	if err := w.permitReplication(ctx); err != nil {
		return fmt.Errorf("permit replication: %w", err)
	}
	ports, err := choosePorts("5432/tcp")
	if err != nil {
		return err
	}
	w.standby = &server{
		name: standbyName, image: w.images.Postgres, ports: ports,
		front: w.front, links: []link{{w.databaseLink, standbyName, Service}, {w.replicationLink, standbyName, Database}},
		options: []testcontainers.ContainerCustomizer{
			testcontainers.WithEnv(map[string]string{"PGPASSWORD": testservers.Password}),
			testcontainers.WithEntrypoint("bash", "-c", standbyScript, standbyName),
			testcontainers.WithCmd(settings...),
		},
		modify: func(*container.HostConfig) {},
	}
	admin := testservers.SuperuserURL(w.standby.address(), "postgres")
	w.standby.ready = func(ctx context.Context) error { return testservers.WaitForPostgres(ctx, admin) }
	if err := w.standby.create(ctx); err != nil {
		return err
	}
	if mode == Synchronous {
		// Not before the standby was copied, or it would wait for itself once it is the primary.
		err = w.tell(ctx, w.database, `alter system set synchronous_standby_names = '`+standbyName+`'`, `select pg_reload_conf()`)
		if err != nil {
			return err
		}
	}
	if err := w.waitForReplication(ctx, mode); err != nil {
		return err
	}
	// The new primary first: the test still reaches one that was cut off from everybody else.
	for _, u := range []*string{&w.db.ServiceURL, &w.db.ReaderURL, &w.db.AdminURL} {
		if *u, err = onHosts(*u, "primary", w.standby.address(), w.database.address()); err != nil {
			return err
		}
	}
	return nil
}

// permitReplication lets the superuser replicate, which images permit on the host itself alone.
func (w *World) permitReplication(ctx context.Context) error {
	code, out, err := w.database.container.Exec(ctx, []string{"bash", "-c", `echo host replication all all scram-sha-256 >>"$PGDATA/pg_hba.conf"`})
	if err != nil {
		return err
	}
	if code != 0 {
		said, _ := io.ReadAll(out)
		return fmt.Errorf("exit code %d: %s", code, said)
	}
	return w.tell(ctx, w.database, `select pg_reload_conf()`)
}

// tell has a server execute statements as the superuser.
func (w *World) tell(ctx context.Context, s *server, statements ...string) error {
	conn, err := pgx.Connect(ctx, testservers.SuperuserURL(s.address(), "postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("the %s, told %s: %w", s.name, statement, err)
		}
	}
	return nil
}

const replicatedSQL = `
select exists (
    select
    from pg_stat_replication
    where application_name = $1
        and state = 'streaming'
        and sync_state = $2
)`

func (w *World) waitForReplication(ctx context.Context, mode Replication) error {
	conn, err := pgx.Connect(ctx, testservers.SuperuserURL(w.database.address(), "postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	state := map[Replication]string{Asynchronous: "async", Synchronous: "sync"}[mode]
	for {
		var done bool
		if err := conn.QueryRow(ctx, replicatedSQL, standbyName, state).Scan(&done); err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the standby does not follow: %w", ctx.Err())
		case <-again.C:
		}
	}
}

// failOver takes the primary away and promotes the standby.
func (w *World) failOver(ctx context.Context, primary *server, kind Kind) error {
	how := Kill
	if kind == Depose {
		how = Cut
	}
	if _, err := w.strike(ctx, primary, Fault{Kind: how}); err != nil {
		return err
	}
	return w.Promote(ctx)
}

// Promote makes the standby the primary. What becomes of the one before is not its business.
func (w *World) Promote(ctx context.Context) error {
	if w.standby == nil {
		return errors.New("there is no standby")
	}
	return w.tell(ctx, w.standby, `select pg_promote()`)
}

// onHosts moves a database's URL to several hosts.
func onHosts(address, attrs string, hosts ...string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	u.Host = strings.Join(hosts, ",")
	query := u.Query()
	query.Set("target_session_attrs", attrs)
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// Server returns the database as one server has it, whatever it is at the moment: 0 is the first primary, 1 its standby.
func (w *World) Server(n int) (db testservers.DB, err error) {
	db = w.db
	for _, u := range []*string{&db.ServiceURL, &db.ReaderURL, &db.AdminURL} {
		if *u, err = onHosts(*u, "any", w.databases()[n].address()); err != nil {
			return db, err
		}
	}
	return db, nil
}

// databaseInside is what service n knows of the database. With a standby every second one reads orders from there.
func (w *World) databaseInside(n int) (map[string]string, error) {
	if w.standby == nil {
		u, err := url.Parse(w.db.ServiceURL)
		if err != nil {
			return nil, err
		}
		u.Host = "database:5432"
		return map[string]string{"ORDERBOX_DATABASE_URL": u.String()}, nil
	}
	writing, err := onHosts(w.db.ServiceURL, "read-write", "database:5432", standbyName+":5432")
	if err != nil || n%2 == 0 {
		return map[string]string{"ORDERBOX_DATABASE_URL": writing}, err
	}
	reading, err := onHosts(w.db.ServiceURL, "prefer-standby", "database:5432", standbyName+":5432")
	return map[string]string{"ORDERBOX_DATABASE_URL": writing, "ORDERBOX_READ_DATABASE_URL": reading}, err
}

// databaseSettings are PostgreSQL's. Checkpoints cost little without a disk to wait for, and leave little to do again after a
// kill; what a standby missed while it was cut off is kept.
func databaseSettings(synced bool) []string {
	return []string{"-c", "fsync=" + strconv.FormatBool(synced), "-c", "checkpoint_timeout=30s", "-c", "wal_keep_size=512MB"}
}
