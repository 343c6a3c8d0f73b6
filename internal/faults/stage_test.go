package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/internal/faults"
)

// stage is a moment of the flow at which a fault strikes. The moment is held still from outside: by locks
// of an administrator in the database, and by a cut link.
type stage string

const (
	// The append of a batch waits for the appenders' lock.
	beforeCommit stage = "before the commit"
	// The batch is committed; its acknowledgements went into a link that was cut before.
	beforeAck stage = "between commit and ack"
	// The projector's transaction waits for the checkpoint's row.
	projecting stage = "while projecting"
	// The service was killed and started, and the filling of its cache waits for the table of orders.
	booting stage = "while booting"
	// The next generation is half built, and waits for its checkpoint's row.
	replaying stage = "while replaying"
)

var stages = []stage{beforeCommit, beforeAck, projecting, booting, replaying}

const (
	lockAppendersSQL  = `select pg_advisory_lock(hashtext('orderbox inbox'))`
	lockCheckpointSQL = `select position from checkpoint for update`
	lockHalfWaySQL    = `select position from checkpoint where position > 0 for update`
	lockOrdersSQL     = `lock table orders in access exclusive mode`
	generationSQL     = `select name from generations where state = $1`
	enterSQL          = `select set_config('search_path', quote_ident($1) || ', public', false)`
	waitingSQL        = `select exists (select from pg_stat_activity where application_name = $1 and wait_event_type = 'Lock')`
)

// hold is a lock that an administrator has.
type hold struct{ conn *pgx.Conn }

// holdIn takes a lock, in a transaction that stays open, with the tables of the generation of that state in
// the search path. It is an error when there is no such generation, or not what the statement would lock.
func (l *lane) holdIn(tb testing.TB, state, sql string) (*hold, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, l.w.Database().AdminURL)
	if err != nil {
		return nil, err
	}
	h := &hold{conn}
	tb.Cleanup(h.release)
	var generation string
	if err := conn.QueryRow(ctx, generationSQL, state).Scan(&generation); err != nil {
		return nil, fmt.Errorf("find the generation that is %s: %w", state, err)
	}
	if _, err := conn.Exec(ctx, enterSQL, generation); err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "begin"); err != nil {
		return nil, err
	}
	tag, err := conn.Exec(ctx, sql)
	if err == nil && tag.Select() && tag.RowsAffected() == 0 {
		err = errors.New("there is nothing to lock")
	}
	return h, err
}

func (l *lane) mustHold(tb testing.TB, sql string) *hold {
	tb.Helper()
	h, err := l.holdIn(tb, "current", sql)
	if err != nil {
		tb.Fatalf("hold the moment: %v", err)
	}
	return h
}

// release ends the connection, whatever the server's state: a paused one finds that out when it goes on,
// a killed one has forgotten the lock.
func (h *hold) release() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	h.conn.Close(ctx)
}

// waits says whether a stage of the service waits for a lock.
func (l *lane) waits(ctx context.Context, application string) bool {
	var waiting bool
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	err := l.pool.QueryRow(ctx, waitingSQL, application).Scan(&waiting)
	return err == nil && waiting
}

// cutBroker is the fault that is a part of a stage, too: a cell that has it finds it done there.
var cutBroker = faults.Fault{Target: faults.Broker, Kind: faults.Cut}

// enter publishes the messages and returns when the flow stands at the stage and the service has all of them,
// with what lets it go on. heals is what the stage itself has broken.
func (l *lane) enter(tb testing.TB, c cell, s *sent, payloads [][]byte) (goOn func(), heals []heal) {
	tb.Helper()
	before := l.mustReceived(tb)
	send := func() {
		more, err := publish(tb.Context(), l.w, payloads...)
		if err != nil {
			tb.Fatal(err)
		}
		s.add(more)
		eventually(tb, "everything is with the service", func() bool { return l.mustReceived(tb) >= before+len(payloads) })
	}
	wait := func(what, application string) {
		eventually(tb, what, func() bool { return l.waits(tb.Context(), application) })
	}
	committed := func() bool {
		missing, err := l.books.lacks(tb.Context(), *s)
		return err == nil && missing == 0
	}
	switch c.at {
	case beforeCommit, beforeAck:
		h := l.mustHold(tb, lockAppendersSQL)
		send()
		wait("an append waits for the lock", "orderbox ingest")
		if c.at == beforeCommit {
			return func() {
				if c.endsService() {
					l.forget(tb.Context())
				}
				h.release()
			}, nil
		}
		heals = append(heals, mustBreak(tb, l.w, cutBroker))
		h.release()
		eventually(tb, "everything is committed", committed)
		return func() {}, heals
	case projecting:
		h := l.mustHold(tb, lockCheckpointSQL)
		send()
		wait("the projector waits for the checkpoint", "orderbox projector")
		return h.release, nil
	case booting:
		send()
		eventually(tb, "everything is committed", committed)
		h := l.mustHold(tb, lockOrdersSQL)
		mustBreak(tb, l.w, faults.Fault{Target: faults.Service, Kind: faults.Kill})(tb)
		wait("the cache waits for the orders", "orderbox query")
		return h.release, nil
	default:
		send()
		return l.enterReplay(tb), nil
	}
}

const forgetSQL = `
select count(pg_terminate_backend(pid))
from pg_stat_activity
where application_name = 'orderbox ingest' and wait_event_type = 'Lock'`

// forget ends the append that waits for a lock: its statement has arrived in full, and the server would
// commit it, though the service that sent it is gone. A database that does not answer is broken itself.
func (l *lane) forget(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	_, _ = l.pool.Exec(ctx, forgetSQL)
}

// enterReplay stops the building of a generation in the middle. Nothing holds it before it has come to the
// middle, so it may get to the end meanwhile: then there is another.
func (l *lane) enterReplay(tb testing.TB) (goOn func()) {
	tb.Helper()
	const attempts = 5
	for range attempts {
		if out, err := l.w.Orderbox(tb.Context(), "replay", "--detach"); err != nil {
			tb.Fatalf("order a replay: %v %s", err, out)
		}
		var h *hold
		eventually(tb, "the replay is half way or through", func() bool {
			var err error
			h, err = l.holdIn(tb, "building", lockHalfWaySQL)
			return err == nil || !l.replays(tb.Context())
		})
		stuck := false
		eventually(tb, "the replay stands or is through", func() bool {
			stuck = l.waits(tb.Context(), "orderbox projector")
			return stuck || !l.replays(tb.Context())
		})
		if stuck && l.replays(tb.Context()) {
			return h.release
		}
	}
	tb.Fatalf("%d replays were through before they could be held", attempts)
	return nil
}

// replays says whether a generation is being built; a database that does not answer leaves it open.
func (l *lane) replays(ctx context.Context) bool {
	var name string
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	return l.pool.QueryRow(ctx, generationSQL, "building").Scan(&name) != pgx.ErrNoRows
}

var receivedMetric = regexp.MustCompile(`(?m)^orderbox_ingest_received_total\{source="stan"\} (\S+)$`)

// mustReceived is how many deliveries the service has counted.
func (l *lane) mustReceived(tb testing.TB) int {
	tb.Helper()
	answer, err := http.Get(l.w.ServiceURLs()[0] + "/metrics")
	if err != nil {
		tb.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		tb.Fatal(err)
	}
	found := receivedMetric.FindSubmatch(text)
	if found == nil {
		tb.Fatal("the service does not count its deliveries")
	}
	n, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		tb.Fatal(err)
	}
	return int(n)
}

// heal makes good what a fault has broken, or fails the test.
type heal func(testing.TB)

func mustBreak(tb testing.TB, w *faults.World, f faults.Fault) heal {
	tb.Helper()
	undo, err := w.Strike(tb.Context(), f)
	if err != nil {
		tb.Fatal(err)
	}
	return func(tb testing.TB) {
		tb.Helper()
		if err := undo(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
}
