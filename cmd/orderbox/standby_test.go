package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"orderbox/internal/testservers"
)

// both returns a URL of two servers: a database of the first, and the same of the second.
func both(t *testing.T, first, second, attrs string) string {
	t.Helper()
	u, err := url.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	other, err := url.Parse(second)
	if err != nil {
		t.Fatal(err)
	}
	u.Host += "," + other.Host
	u.RawQuery += "&target_session_attrs=" + attrs
	return u.String()
}

// A replica that only answers needs no more than a standby to start and to answer, and goes on reading from the primary while
// the standby is away.
func TestAReplicaStartsFromAStandbyAlone(t *testing.T) {
	t.Parallel()
	const messages = 200
	primary := testservers.OwnPostgres(t)
	db, broker, channel := primary.Database(), testservers.Broker(t), testservers.Channel(t)
	standby := primary.Standby()
	mustProgram(t, replicaEnv(db, broker, channel, channel), "serve", "--stages", "ingest,projector")
	address := freeAddress(t)
	serve := func() *program {
		return mustProgram(t, append(replicaEnv(db, broker, channel, channel),
			"ORDERBOX_DATABASE_URL="+both(t, db.ServiceURL, standby.DB().ServiceURL, "primary"),
			"ORDERBOX_READ_DATABASE_URL="+both(t, db.ServiceURL, standby.DB().ServiceURL, "prefer-standby")),
			"serve", "--stages", "query", "--listen", address)
	}
	replica := serve()
	for _, args := range [][]string{
		{"migrate", "--admin-url", both(t, standby.DB().AdminURL, db.AdminURL, "primary")},
		{"verify"},
	} {
		args = append(args, "--database-url", both(t, standby.DB().ServiceURL, db.ServiceURL, "read-write"))
		if code, out, errs := runOrderbox(t.Context(), args...); code != 0 {
			t.Errorf("%s with two hosts: exit code %d\n%s%s", args[0], code, out, errs)
		}
	}
	sent := 0
	shows := func(what string) {
		t.Helper()
		payloads, uids := generated(uint64(77+sent), messages)
		mustPublish(t, broker.URL, broker.Cluster, channel, 0, payloads...)
		sent += messages
		testservers.Eventually(t, what, func() bool {
			code, _ := get(t, "http://"+address+"/api/v1/orders/"+uids[len(uids)-1], "")
			return code == http.StatusOK
		})
	}
	role := func(want string) {
		t.Helper()
		testservers.Eventually(t, "it is "+want, func() bool {
			code, said := get(t, "http://"+address+"/readyz", "")
			var readiness struct{ Roles map[string]string }
			return code == http.StatusOK && json.Unmarshal([]byte(said), &readiness) == nil && readiness.Roles["query"] == want
		})
	}
	testservers.Eventually(t, "it is ready", func() bool { return askReady(t.Context(), "http://"+address) == nil })
	shows("an order that the standby has")
	role("answering from a standby")
	standby.Stop()
	shows("an order that only the primary has")
	role("answering from the primary")

	standby.Start()
	testservers.Eventually(t, "the standby has everything", func() bool { return positionOf(t, standby) == positionOf(t, primary) })
	primary.Crash()
	replica.kill()
	serve()
	role("answering from a standby")
	_, uids := generated(77, messages)
	if code, said := get(t, "http://"+address+"/api/v1/orders/"+uids[0], ""); code != http.StatusOK {
		t.Errorf("started without the primary, it answers %d: %s", code, said)
	}
}

// positionOf is how far the projection is.
func positionOf(t *testing.T, server *testservers.OwnedPostgres) (position int64) {
	t.Helper()
	pool := testservers.Open(t, server.DB().AdminURL, 1)
	defer pool.Close()
	if _, err := pool.Exec(t.Context(), `select set_config('search_path', name, false) from generations where state = 'current'`); err != nil {
		t.Fatal(err)
	}
	if err := pool.QueryRow(t.Context(), `select position from checkpoint`).Scan(&position); err != nil {
		t.Fatal(err)
	}
	return position
}
