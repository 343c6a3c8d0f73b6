package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"orderbox/internal/archive"
	"orderbox/internal/testservers"
	"orderbox/publisher"
)

// Splits this month where its newest message is: what came until then is a month that is over, and the rest is this one.
const endMonthSQL = `
do $$
declare
	month text := (select tableoid::regclass::text from inbox order by position desc limit 1);
	day timestamptz := date_trunc('month', now() at time zone 'utc') at time zone 'utc';
	until timestamptz := (select max(stamped_at) + interval '1 us' from inbox);
begin
	execute format('alter table inbox detach partition %I', month);
	execute format('alter table %I rename to inbox_2020_01', month);
	execute format('alter table inbox attach partition inbox_2020_01 for values from (%L) to (%L)', day - interval '1 month', until);
	execute format('create table %I partition of inbox for values from (%L) to (%L)', month, until, (day at time zone 'utc' + interval '1 month') at time zone 'utc');
	execute format('alter table %I owner to orderbox_owner', month);
end $$`

// old is a service that has received 401 messages, of which the first 301 are of a month that is over.
type old struct {
	*testing.T
	db      testservers.DB
	broker  testservers.STAN
	channel string
	service *program
	address string
	dir     string // for files
}

func newOld(t *testing.T) *old {
	t.Helper()
	o := &old{T: t, db: testservers.Database(t), broker: testservers.Broker(t), channel: testservers.Channel(t), dir: t.TempDir()}
	o.start()
	o.publish(91, 300, publisher.Model)
	mustDecide(t, o.db, 301)
	mustExec(t, mustConnect(t, o.db.AdminURL), endMonthSQL)
	o.publish(92, 100)
	mustDecide(t, o.db, 401)
	return o
}

func (o *old) start() {
	o.Helper()
	o.service, o.address = mustServe(o.T, o.db, o.broker, o.channel)
}

func (o *old) publish(seed uint64, n int, more ...[]byte) {
	o.Helper()
	for m := range publisher.Messages(seed, n, 0.2) {
		more = append(more, m.Payload)
	}
	mustPublish(o.T, o.broker.URL, o.broker.Cluster, o.channel, 0, more...)
}

// run runs a command as an administrator.
func (o *old) run(code int, args ...string) (out, errs string) {
	o.Helper()
	return mustRun(o.T, code, append(args, "--data", o.dir, "--database-url", o.db.ServiceURL)...)
}

func (o *old) admin(code int, args ...string) (out, errs string) {
	o.Helper()
	return o.run(code, append(args, "--admin-url", o.db.AdminURL)...)
}

func (o *old) fingerprint() string {
	o.Helper()
	out, _ := o.run(0, "verify")
	return mustFind(o.T, `(fingerprint .*)`, out)
}

// look checks the laws and the lookups while a month is not in the log.
func (o *old) look(when string) {
	o.Helper()
	if r := mustDecide(o.T, o.db, 501); r.Received != 501 || r.Detached != 301 || r.Gaps != 0 || len(r.Broken) > 0 {
		o.Errorf("%s: %+v", when, r)
	}
	if code, _ := get(o.T, "http://"+o.address+"/api/v1/orders/"+modelUID, ""); code != http.StatusOK {
		o.Errorf("%s: a lookup of an order whose message is archived: %d", when, code)
	}
}

// A month goes into its file and comes back, under a service that runs on: what became of its messages stays, lookups go on,
// a replay wants it back, and then makes what was there before.
func TestAMonthIsArchivedAndRestored(t *testing.T) {
	t.Parallel()
	o := newOld(t)
	file := filepath.Join(o.dir, "inbox_2020_01"+archive.Suffix)
	out, _ := o.admin(0, "archive")
	mustSay(t, out, "in the log, can be archived", "it is not over", "open dead letters")
	out, _ = o.admin(0, "archive", "2020-01", "--dry-run", "--json")
	mustSay(t, out, `"partition": "inbox_2020_01"`)
	_, errs := o.admin(1, "archive", "2020_01")
	mustSay(t, errs, "try: --to DIR")
	_, errs = o.admin(1, "archive", "1999_01", "--to", o.dir)
	mustSay(t, errs, "no such month", "try: orderbox archive")

	out, _ = o.admin(0, "archive", "2020_01", "--to", o.dir)
	mustSay(t, out, "archived: 301 messages in "+file)
	o.publish(93, 99, publisher.Model)
	o.look("archived")
	o.service.mustStop()
	o.start()
	o.look("started again")
	fingerprint := o.fingerprint()

	_, errs = o.run(1, "replay")
	mustSay(t, errs, "would be gone: 301 messages", "try: orderbox restore "+file, "--without-detached")
	_, errs = o.run(1, "verify", "--deep")
	mustSay(t, errs, "were detached", "try: orderbox restore "+file)
	o.look("after the replay that was refused")

	out, _ = o.admin(0, "restore", file)
	mustSay(t, out, "inbox_2020_01: 301 messages, positions 1 to 301, are in the log again")
	_, errs = o.admin(0, "restore", file)
	mustSay(t, errs, "in the log already")
	out, _ = o.run(0, "replay")
	mustSay(t, out, "is in service, up to position 501")
	if got := o.fingerprint(); got != fingerprint {
		t.Errorf("replayed, it is %s, and was %s", got, fingerprint)
	}
	o.run(0, "verify", "--deep")

	// What is left behind can be had again all the same.
	o.admin(0, "archive", "--older-than", "1mo", "--to", o.dir)
	if r := mustDecide(t, o.db, 501); r.Detached != 0 {
		t.Errorf("it ended just now, and is not a month old: %+v", r)
	}
	o.admin(0, "archive", "2020_01", "--to", o.dir)
	o.run(0, "replay", "--without-detached")
	if r := mustDecide(t, o.db, 200); r.Received != 200 || r.Detached != 0 || r.Gaps != 0 {
		t.Errorf("left behind: %+v", r)
	}
	out, _ = o.admin(0, "restore", file)
	mustSay(t, out, "left behind by a replay")
	o.run(1, "verify")
	o.run(0, "replay")
	if got := o.fingerprint(); got != fingerprint {
		t.Errorf("replayed, it is %s, and was %s", got, fingerprint)
	}
}

// Killed when the file has its name and the month is not yet detached, and given again, it goes on from there. Package archive
// has a test that kills it at every step.
func TestArchivingOutlivesKillNine(t *testing.T) {
	t.Parallel()
	o := newOld(t)
	admin := mustConnect(t, o.db.AdminURL)
	fingerprint := o.fingerprint()
	file := filepath.Join(o.dir, "inbox_2020_01"+archive.Suffix)
	args := []string{"archive", "2020_01", "--to", o.dir, "--data", o.dir, "--database-url", o.db.ServiceURL, "--admin-url", o.db.AdminURL}

	mustExec(t, admin, `select pg_advisory_lock(hashtext('orderbox order'))`)
	p := mustProgram(t, nil, args...)
	testservers.Eventually(t, "it waits for the lock", func() bool {
		var waits bool
		err := admin.QueryRow(t.Context(), `select exists (select from pg_stat_activity where wait_event_type = 'Lock'
			and datname = current_database() and application_name = 'orderbox archive')`).Scan(&waits)
		return err == nil && waits
	})
	p.kill()
	mustExec(t, admin, `select pg_advisory_unlock_all()`)
	if r := mustDecide(t, o.db, 401); r.Received != 401 || r.Detached != 0 {
		t.Errorf("killed: %+v", r)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("it was killed when the file was there: %v", err)
	}
	testservers.Eventually(t, "the server has noticed that it was killed", func() bool {
		code, _, errs := runOrderbox(t.Context(), args...)
		return code == 0 || !strings.Contains(errs, archive.ErrBusy.Error())
	})
	if r := mustDecide(t, o.db, 401); r.Detached != 301 {
		t.Errorf("archived: %+v", r)
	}
	o.admin(0, "restore", file)
	if got := o.fingerprint(); got != fingerprint {
		t.Errorf("it is %s, and was %s", got, fingerprint)
	}
	o.run(0, "verify", "--deep")
}
