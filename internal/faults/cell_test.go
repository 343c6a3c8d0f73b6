package faults_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/faults"
	"orderbox/internal/testservers"
	"orderbox/internal/verify"
	"orderbox/publisher"
)

const (
	// patience bounds what a test waits for, questionTimeout a question to a database that may be away: for a
	// machine that has much else to do, or where several worlds break at once.
	patience, questionTimeout = 5 * time.Minute, 10 * time.Second
	// lookAgain is a tenth of a second, for each look goes through containers.
	lookAgain = 100 * time.Millisecond
	// Messages of a world from the beginning, for a replay to have a middle; of a cell before its faults,
	// and while they last.
	firstMessages, cellMessages, meanwhileMessages = 800, 60, 10
	rubbish                                        = 0.1
)

// eventually returns when ok says so, and fails the test when patience has run out.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			tb.Fatalf("%s: not within %v", what, patience)
		}
		select {
		case <-again.C:
		case <-tb.Context().Done():
			tb.Fatal(tb.Context().Err())
		}
	}
}

// cell is one or two faults at a stage.
type cell struct {
	at     stage
	faults []faults.Fault
}

func (c cell) String() string {
	var words []string
	for _, f := range c.faults {
		words = append(words, f.String())
	}
	return strings.Join(words, " and ") + " " + string(c.at)
}

// hits says whether one of the faults is of that target, and of one of the kinds if any are given.
func (c cell) hits(target faults.Target, kinds ...faults.Kind) bool {
	return slices.ContainsFunc(c.faults, func(f faults.Fault) bool {
		return f.Target == target && (len(kinds) == 0 || slices.Contains(kinds, f.Kind))
	})
}

// endsService says whether the service's process does not live through it.
func (c cell) endsService() bool {
	return c.hits(faults.Service, faults.Kill, faults.Restart, faults.Wipe)
}

// mayLose says whether messages can be gone that were in two places only: the broker's store, which was
// wiped, and the process that ended before it had committed them.
func (c cell) mayLose() bool { return c.hits(faults.Broker, faults.Wipe) && c.endsService() }

// lookable says whether every lookup must be answered all the while: there is one replica, which is not to
// be struck itself.
func (c cell) lookable() bool { return c.at != booting && !c.hits(faults.Service) }

// succession says whether the second fault can only come after the first: they are of one target.
func (c cell) succession() bool {
	return len(c.faults) == 2 && c.faults[0].Target == c.faults[1].Target
}

// outcome is what a cell has shown.
type outcome struct {
	cell
	recovery time.Duration
	answered int // lookups
}

// lane is one world that cells are tried in, one after the other.
type lane struct {
	w       *faults.World
	pool    *pgxpool.Pool // the test's own way to the database
	books   *books
	lookups *lookups
	seed    uint64 // of the last messages
}

// newLane makes a world with some messages in it, and begins to look their orders up.
func newLane(tb testing.TB, number int) *lane {
	tb.Helper()
	w := faults.NewWorld(tb, faults.Options{})
	pool := testservers.Open(tb, w.Database().AdminURL, 4)
	l := &lane{w: w, pool: pool, books: &books{w: w, pool: pool}, lookups: newLookups(w.ServiceURLs()[0]), seed: uint64(number) << 32}
	eventually(tb, "the service is ready", l.ready)
	payloads, orders := l.messages(firstMessages)
	s, err := publish(tb.Context(), w, payloads...)
	if err != nil {
		tb.Fatal(err)
	}
	eventually(tb, "everything is there", func() bool { return l.done(tb.Context(), s, cell{}) })
	l.books.settle(tb, s, cell{})
	l.lookups.learn(tb, orders[:20])
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	asking.Go(func() { l.lookups.run(ctx) })
	tb.Cleanup(func() { cancel(); asking.Wait() })
	return l
}

// messages makes messages that no other cell has, and names the orders that are certain to be among them.
func (l *lane) messages(n int) (payloads [][]byte, orders []string) {
	l.seed++
	for m := range publisher.Messages(l.seed, n, rubbish) {
		payloads = append(payloads, m.Payload)
		if m.Verdict == publisher.VerdictOrder {
			orders = append(orders, m.OrderUID)
		}
	}
	return payloads, orders
}

// run tries a cell and leaves the world whole.
func (l *lane) run(t *testing.T, c cell) outcome {
	payloads, orders := l.messages(cellMessages)
	var s sent
	goOn, heals := l.enter(t, c, &s, payloads)
	before := mustLife(t, l.w)
	l.lookups.count()

	heals = append(heals, l.strike(t, c)...)
	more, _ := l.messages(meanwhileMessages)
	meanwhile := make(chan error, 1)
	go func() {
		added, err := publish(t.Context(), l.w, more...)
		s.add(added)
		meanwhile <- err
	}()
	goOn()
	if c.lasting() {
		eventually(t, "the service notices", func() bool { return !l.ready() })
	}
	for _, heal := range heals {
		heal(t)
	}
	healed := time.Now()
	if err := <-meanwhile; err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything is there again", func() bool { return l.done(t.Context(), s, c) })
	o := outcome{cell: c, recovery: time.Since(healed)}
	eventually(t, "the replay is through", func() bool { return !l.replays(t.Context()) })

	var failed int
	var failure string
	if o.answered, failed, failure = l.lookups.count(); failed > 0 && c.lookable() {
		t.Errorf("%d lookups failed, %d were answered; the first: %s", failed, o.answered, failure)
	}
	if after := mustLife(t, l.w); (after != before) != c.endsService() {
		t.Errorf("the service was %s and is %s", before, after)
	}
	l.check(t, s, c)
	l.lookups.mustAll(t)
	if !c.mayLose() {
		l.lookups.learn(t, orders[:3])
	}
	return o
}

// lasting says whether the faults stay until they are healed, long enough to be noticed.
func (c cell) lasting() bool {
	last := c.faults[len(c.faults)-1:]
	if !c.succession() {
		last = c.faults
	}
	return slices.ContainsFunc(last, func(f faults.Fault) bool { return f.Kind != faults.Restart && f.Kind != faults.Wipe })
}

// strike injects the faults, and returns what heals those that last.
func (l *lane) strike(t *testing.T, c cell) (heals []heal) {
	for i, f := range c.faults {
		if c.at == beforeAck && f == cutBroker {
			continue // the stage has done it
		}
		undo := mustBreak(t, l.w, f)
		if c.succession() && i == 0 {
			undo(t)
			continue
		}
		heals = append(heals, undo)
	}
	return heals
}

func (l *lane) ready() bool { return status(l.w.ServiceURLs()[0]+"/readyz") == http.StatusOK }

// done says whether the service is ready and everything that was sent is in the inbox and judged.
func (l *lane) done(ctx context.Context, s sent, c cell) bool {
	if !l.ready() {
		return false
	}
	if missing, err := l.books.lacks(ctx, s); err != nil || missing > 0 && !c.mayLose() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	b, err := verify.Stats(ctx, l.pool)
	return err == nil && b.Pending == 0 && b.Received > 0
}

// check compares what was sent with what is there, and has the laws checked.
func (l *lane) check(t *testing.T, s sent, c cell) {
	l.books.settle(t, s, c)
	eventually(t, "the mark is judged", func() bool { return l.done(t.Context(), sent{}, c) })
	report, err := verify.Check(t.Context(), l.pool)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Broken) > 0 || report.Pending != 0 || report.Received != report.Orders+report.Duplicates+report.DeadLetters {
		t.Errorf("it does not add up: %+v", report)
	}
}
