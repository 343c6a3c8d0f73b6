package main

import (
	"net/http"
	"strings"
	"testing"

	"orderbox/internal/testservers"
	"orderbox/publisher"
)

// Splits this month where its newest message is, so that a part of it is over.
const endMonthSQL = `
do $$
declare
	month text := (select tableoid::regclass::text from inbox order by position desc limit 1);
	day timestamptz := date_trunc('month', now() at time zone 'utc') at time zone 'utc';
begin
	execute format('create table kept as select max(stamped_at) + interval ''1 us'' as until, %L as month from inbox', month);
	execute format('alter table inbox detach partition %I', month);
	execute format('alter table inbox attach partition %I for values from (%L) to (%L)', month, day - interval '1 month', (select until from kept));
end $$`

// A month is taken out of the log: what became of its messages stays, all goes on, and a replay leaves none of it behind
// unless it is told to.
func TestAMonthIsDetached(t *testing.T) {
	t.Parallel()
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	admin := mustConnect(t, db.AdminURL)
	p, address := mustServe(t, db, broker, channel)
	publish := func(seed uint64, n int, more ...[]byte) {
		t.Helper()
		for m := range publisher.Messages(seed, n, 0.2) {
			more = append(more, m.Payload)
		}
		mustPublish(t, broker.URL, broker.Cluster, channel, 0, more...)
	}
	publish(91, 300, publisher.Model)
	mustDecide(t, db, 301)
	mustExec(t, admin, endMonthSQL)
	publish(92, 100)
	before := mustDecide(t, db, 401)
	mustExec(t, admin, `select detach_inbox_partition((select month from kept))`)

	publish(93, 99, publisher.Model)
	lookUp := func() (code int) {
		code, _ = get(t, "http://"+address+"/api/v1/orders/"+modelUID, "")
		return code
	}
	look := func(when string) {
		t.Helper()
		r := mustDecide(t, db, 501)
		if r.Received != 501 || r.Detached != 301 || r.Gaps != 0 || r.Orders <= before.Orders || r.Duplicates <= before.Duplicates {
			t.Errorf("%s: %+v", when, r)
		}
		if code := lookUp(); code != http.StatusOK {
			t.Errorf("%s: a lookup of an order whose message is detached: %d", when, code)
		}
	}
	look("detached")
	p.mustStop()
	_, address = mustServe(t, db, broker, channel)
	look("started again")

	args := []string{"replay", "--data", t.TempDir(), "--database-url", db.ServiceURL}
	if code, out, errs := runOrderbox(t.Context(), args...); code != 1 || !strings.Contains(errs, "would be gone: 301 messages") {
		t.Errorf("replay: exit code %d\n%s%s", code, out, errs)
	}
	look("after the replay that was refused")
	if code, _, errs := runOrderbox(t.Context(), "verify", "--deep", "--data", t.TempDir(), "--database-url", db.ServiceURL); code != 1 || !strings.Contains(errs, "were detached") {
		t.Errorf("verify --deep: exit code %d\n%s", code, errs)
	}
	if code, out, errs := runOrderbox(t.Context(), append(args, "--without-detached")...); code != 0 {
		t.Errorf("replay --without-detached: exit code %d\n%s%s", code, out, errs)
	}
	if r := mustDecide(t, db, 200); r.Received != 200 || r.Detached != 0 || r.Gaps != 0 {
		t.Errorf("left behind: %+v", r)
	}
}
