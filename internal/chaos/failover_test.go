package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"orderbox/inbox"
	"orderbox/ingest"
	"orderbox/internal/faults"
	"orderbox/internal/testservers"
)

// With synchronous replication nothing is lost that was acknowledged, whether the primary dies or is cut off and lives on.
func TestNothingIsLostWhenASynchronousStandbyIsPromoted(t *testing.T) {
	t.Parallel()
	for _, kind := range []faults.Kind{faults.Replace, faults.Depose} {
		t.Run(string(kind), func(t *testing.T) {
			deck := []card{{Fault: faults.Fault{Target: faults.Database, Kind: kind}}}
			r := playAndJudge(t, faults.Options{Standby: faults.Synchronous}, deck, 6_000, len(deck))
			if kind == faults.Depose {
				mustNotCommit(t, r.world)
			}
		})
	}
}

// mustNotCommit fails the test if the primary that was cut off still confirms anything to who reaches it.
func mustNotCommit(t *testing.T, world *faults.World) {
	t.Helper()
	old, err := world.Server(0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := testservers.Open(t, old.AdminURL, 1).Exec(ctx, `create table split_brain (n bigint)`); err == nil {
		t.Error("the old primary has confirmed a commit")
	}
}

// With asynchronous replication what the standby had not received is gone when it is promoted. It is found by comparing with
// the broker, and comes from there.
func TestWhatAnAsynchronousStandbyNeverGotIsAskedForAgain(t *testing.T) {
	t.Parallel()
	world := faults.NewWorld(t, faults.Options{Services: replicas, Unsynced: true, Standby: faults.Asynchronous})
	r, ctx := newRun(t, world, nil, rand.Uint64N(1_000_000), 0, 0), t.Context()
	for _, replica := range r.replicas {
		testservers.Eventually(t, "the replicas are ready", func() bool { return isReady(ctx, r.lookups, replica) })
	}
	asking, silence := context.WithCancel(ctx)
	var around sync.WaitGroup
	defer around.Wait()
	defer silence()
	around.Go(func() { r.poll(asking) })
	around.Go(func() { _ = r.lookups.run(asking, r.replicas) })

	kept := r.mustArrive(t, 1)
	r.mustStrike(t, faults.Fault{Target: faults.Database, Kind: faults.Cut, N: 1, From: faults.Database})
	r.load.ledger.doubt()
	all := r.mustArrive(t, 2)
	lost := r.mustServe(t, kept)
	t.Logf("the standby has %d of %d messages", kept, all)

	r.mustStrike(t, faults.Fault{Target: faults.Database, Kind: faults.Kill})
	r.mustRestart(t, 1) // which has the standby alone
	if err := r.world.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	r.pool.Reset()
	testservers.Eventually(t, "the caches notice that the order is lost", func() bool { return r.code(ctx, 0, lost) == http.StatusNotFound })
	if n, err := countSince(ctx, r.pool, time.Time{}); err != nil || n != kept {
		t.Fatalf("%d messages are in the log, %v; the standby had %d", n, err, kept)
	}
	r.mustVerify(t, "", "")
	r.mustVerify(t, "--broker", fmt.Sprintf("sequences %d to %d are not in the log", kept+1, all))

	// What comes meanwhile finds its way by itself.
	r.mustPublish(t, 3)
	last, err := r.ask(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r.mustDecide(t, last-(all-kept))
	r.mustAudit(t)
	r.mustDecide(t, last)
	r.mustVerify(t, "--broker", fmt.Sprintf("sequences 1 to %d: the log lacks 0", last))
	for _, replica := range r.replicas {
		testservers.Eventually(t, "the replicas have everything", func() bool {
			return isReady(ctx, r.lookups, replica) && r.code(ctx, replica.number, lost) == http.StatusOK
		})
	}
	r.load.ledger.trust()
	r.epochs = []epoch{{origin: r.from, last: last}}
	if err := r.judge(ctx); err != nil {
		t.Error(err)
	}
	for _, line := range r.problems.lines() {
		t.Error(line)
	}
}

// mustPublish publishes so many messages that no other call does.
func (r *run) mustPublish(t *testing.T, part uint64) {
	t.Helper()
	const messages = 600
	l := &load{to: r.load.to, seed: r.seed + part<<32, messages: messages,
		ledger: r.load.ledger, gate: newGate(), log: r.load.log}
	l.gate.open(messages)
	if err := l.run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// mustArrive publishes, waits until all is decided, and returns how many messages there are.
func (r *run) mustArrive(t *testing.T, part uint64) (last int64) {
	t.Helper()
	r.mustPublish(t, part)
	last, err := r.settle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.mustDecide(t, last)
	return last
}

func (r *run) mustDecide(t *testing.T, messages int64) {
	t.Helper()
	testservers.Eventually(t, fmt.Sprintf("%d messages are decided", messages), func() bool { return r.decided.Load() >= messages })
}

func (r *run) mustStrike(t *testing.T, f faults.Fault) (heal func(context.Context) error) {
	t.Helper()
	heal, err := r.world.Strike(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return heal
}

// mustRestart kills a replica, starts it, and waits until it is ready.
func (r *run) mustRestart(t *testing.T, n int) {
	t.Helper()
	r.replicas[n].strikes.Add(1)
	r.replicas[n].struck.Add(1)
	if err := r.mustStrike(t, faults.Fault{Target: faults.Service, Kind: faults.Kill, N: n})(t.Context()); err != nil {
		t.Fatal(err)
	}
	testservers.Eventually(t, "the replica is ready again", func() bool { return isReady(t.Context(), r.lookups, r.replicas[n]) })
	r.replicas[n].struck.Add(-1)
}

const firstOrderSQL = `
select order_uid
from orders
where position > (select min(position) from inbox where sequence > $1)
order by position
limit 1`

// mustServe returns an order of a message behind a sequence. The replica that reads from the primary serves it; the one
// that reads from the standby, which is cut off, does not, and says that it lags.
func (r *run) mustServe(t *testing.T, sequence int64) (uid string) {
	t.Helper()
	tx, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	if _, err := tx.Exec(t.Context(), enterSQL); err != nil {
		t.Fatal(err)
	}
	if err := tx.QueryRow(t.Context(), firstOrderSQL, sequence).Scan(&uid); err != nil {
		t.Fatal(err)
	}
	testservers.Eventually(t, "the order is served", func() bool { return r.code(t.Context(), 0, uid) == http.StatusOK })
	if code := r.code(t.Context(), 1, uid); code != http.StatusNotFound {
		t.Errorf("who reads from the standby answers %d", code)
	}
	testservers.Eventually(t, "the lag of the standby is told", func() bool {
		var said struct {
			Roles  map[string]string
			Checks struct{ Cache struct{ Lag int64 } }
		}
		_, text, err := r.lookups.ask(t.Context(), r.replicas[1].url+"/readyz")
		return err == nil && json.Unmarshal(text, &said) == nil && said.Checks.Cache.Lag > 0 && said.Roles["query"] == "answering from a standby"
	})
	return uid
}

// code is the status that a replica answers a lookup with; 0 for no answer.
func (r *run) code(ctx context.Context, replica int, uid string) int {
	code, _, _ := r.lookups.get(ctx, r.replicas[replica].url, uid)
	return code
}

// mustVerify has orderbox verify say something; with nothing to say it must be content.
func (r *run) mustVerify(t *testing.T, flag, says string) {
	t.Helper()
	args := []string{"verify", "--nats-url", r.load.to.URL, "--stan-cluster", r.load.to.Cluster, "--channel", r.load.to.Channel}
	if flag != "" {
		args = append(args, flag)
	}
	out, err := r.world.Orderbox(t.Context(), args...)
	if wrong := strings.Contains(says, "not in the log"); wrong != (err != nil) || !strings.Contains(out, says) {
		t.Errorf("verify %s: %v\n%s\nwant %q", flag, err, out, says)
	}
}

// mustAudit runs one replica of ingest more, in this process, which looks sooner for what the log lacks than those that wait
// for half a minute for whatever is on its way.
func (r *run) mustAudit(t *testing.T) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	stage, err := ingest.New(inbox.New(testservers.Open(t, r.world.Database().ServiceURL, 2), log), ingest.Options{
		URL: r.load.to.URL, Cluster: r.load.to.Cluster, Channel: r.load.to.Channel, ClientID: "audits", AckWait: 2 * time.Second, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = stage.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
}
