package testservers_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/stan.go"

	"orderbox/internal/testservers"
)

func TestMain(m *testing.M) { testservers.Main(m) }

func mustQuery(t *testing.T, url, statement string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return strings.Join(values, ",")
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	for range 3 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			db := testservers.Database(t)
			mustQuery(t, db.AdminURL, "create table mine (note text)")
			for role, url := range map[string]string{"orderbox": db.ServiceURL, "orderbox_reader": db.ReaderURL} {
				if got := mustQuery(t, url, "select current_user::text"); got != role {
					t.Errorf("%s logs in as %s", role, got)
				}
			}
			if got := mustQuery(t, db.ReaderURL, "select count(*)::text from inbox"); got != "0" {
				t.Errorf("a new database has %s messages", got)
			}
			if got := mustQuery(t, db.ServiceURL, "select has_database_privilege(current_database(), 'create')::text"); got != "true" {
				t.Error("the service may not make generations: the database's grants were not cloned")
			}
			if got := mustQuery(t, db.AdminURL, "select pg_get_userbyid(datdba)::text from pg_database where datname = current_database()"); got != "orderbox_owner" {
				t.Errorf("the database is %s's", got)
			}
		})
	}
}

func mustConnect(t *testing.T, s testservers.STAN, client string) stan.Conn {
	t.Helper()
	conn, err := stan.Connect(s.Cluster, client, stan.NatsURL(s.URL))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func mustFirstSequence(t *testing.T, conn stan.Conn, channel string) uint64 {
	t.Helper()
	if err := conn.Publish(channel, []byte("message")); err != nil {
		t.Fatal(err)
	}
	received := make(chan uint64, 1)
	sub, err := conn.Subscribe(channel, func(m *stan.Msg) {
		select {
		case received <- m.Sequence:
		default:
		}
	}, stan.StartWithLastReceived())
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	return <-received
}

func TestTestsShareABrokerByChannels(t *testing.T) {
	t.Parallel()
	channel, other := testservers.Channel(t), testservers.Channel(t)
	if channel == other {
		t.Error("two channels have one name")
	}
	conn := mustConnect(t, testservers.Broker(t), "client-of-"+channel)
	for _, name := range []string{channel, other} {
		if got := mustFirstSequence(t, conn, name); got != 1 {
			t.Errorf("the first message has number %d", got)
		}
	}
}

func TestOwnPostgresComesBackOnTheSamePort(t *testing.T) {
	t.Parallel()
	server := testservers.OwnPostgres(t)
	db := server.Database()
	mustQuery(t, db.AdminURL, "create table kept (note text)")
	for _, end := range []func(){server.Stop, server.Crash} {
		end()
		if _, err := pgx.Connect(t.Context(), db.ServiceURL); err == nil {
			t.Error("the server that was stopped answers")
		}
		server.Start()
		mustQuery(t, db.AdminURL, "select note from kept")
	}
}

func TestOwnBrokerComesBackOnTheSamePort(t *testing.T) {
	t.Parallel()
	broker := testservers.OwnBroker(t)
	for _, step := range []struct {
		name string
		do   func()
		want uint64
	}{
		{"new", func() {}, 1},
		{"stopped and started", func() { broker.Stop(); broker.Start() }, 2},
		{"wiped", broker.Wipe, 1},
	} {
		step.do()
		conn := mustConnect(t, broker.STAN, "client")
		if got := mustFirstSequence(t, conn, "channel"); got != step.want {
			t.Errorf("%s: the message has number %d, want %d", step.name, got, step.want)
		}
		conn.Close()
	}
}
