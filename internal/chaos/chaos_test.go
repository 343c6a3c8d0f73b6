package chaos

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"orderbox/internal/faults"
	"orderbox/internal/testservers"
)

var (
	messagesFlag = flag.Int("chaos.messages", 0, "how many messages to publish; 0 for as many as each test takes")
	faultsFlag   = flag.Int("chaos.faults", 0, "how many faults to inject; 0 for as many as each test takes")
	seedFlag     = flag.Uint64("chaos.seed", 0, "what decides messages and faults; 0 chooses one")
	reportFlag   = flag.String("chaos.report", "", "file to write the report to")
)

func TestMain(m *testing.M) { testservers.Main(m) }

// Nothing is lost and nothing doubled, whatever happens: see the package comment.
func TestChaos(t *testing.T) {
	playAndJudge(t, faults.Options{}, lone(), 10_000, 8)
}

// Nothing is lost and nothing doubled when nodes of the broker's cluster are struck, whoever leads it first of all.
func TestBrokerCluster(t *testing.T) {
	playAndJudge(t, faults.Options{Brokers: nodes}, clustered(), 5_000, len(clustered()))
}

// The same of a stream that has its messages on three nodes of JetStream.
func TestStreamCluster(t *testing.T) {
	playAndJudge(t, faults.Options{Streams: nodes}, clustered(), 5_000, len(clustered()))
}

// Whichever replica projects, another one takes its place when it is struck, and it never again writes beside it.
func TestLeadingReplica(t *testing.T) {
	playAndJudge(t, faults.Options{}, leaders(), 5_000, len(leaders()))
}

// playAndJudge makes a world, has messages and faults of the deck come, and says what is wrong with the outcome.
func playAndJudge(t *testing.T, world faults.Options, deck []card, messages, count int) *run {
	t.Helper()
	t.Parallel() // what breaks, waits most of the time
	seed := *seedFlag
	for seed == 0 {
		seed = rand.Uint64N(1_000_000)
	}
	messages, count = cmp.Or(*messagesFlag, messages), cmp.Or(*faultsFlag, count)
	command := fmt.Sprintf("go test ./internal/chaos -run '^%s$' -count=1 -v -timeout=4h -chaos.messages=%d -chaos.faults=%d -chaos.seed=%d",
		t.Name(), messages, count, seed)
	t.Logf("seed %d; the same again: %s", seed, command)
	world.Services, world.Unsynced = replicas, true
	r := newRun(t, faults.NewWorld(t, world), deck, seed, messages, count)
	t.Cleanup(func() { t.Logf("seed %d:\n%s", seed, r.schedule()) })
	if err := r.play(t.Context()); err != nil {
		t.Error(err)
	}
	if r.published { // then it can be said what is wrong, also when the end was never reached
		if err := r.judge(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for _, line := range r.problems.lines() {
		t.Error(line)
	}
	if *reportFlag != "" && !t.Failed() {
		if err := os.WriteFile(*reportFlag, []byte(r.report(command)), 0o644); err != nil {
			t.Error(err)
		}
	}
	return r
}

// run is one run of chaos.
type run struct {
	t *testing.T
	*conductor
	seed    uint64
	checker *checker
	took    time.Duration // from the first message until all was decided

	published bool // everything, and the broker has told how much that is
}

func newRun(t *testing.T, world *faults.World, deck []card, seed uint64, messages, count int) *run {
	t.Helper()
	found := &problems{tell: t.Log}
	c := &conductor{world: world, plan: plan(deck, seed, messages, count), problems: found,
		pool: testservers.Open(t, world.Database().ReaderURL, 2)}
	c.load = &load{to: world.Publishing(), seed: seed, messages: messages, faults: count,
		ledger: newLedger(), gate: newGate(), log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if then := world.Streaming(); then.URL != "" {
		c.load.then, c.load.move = then, c.move
	}
	c.lookups = newLookups(c.load.ledger, found, &c.underWay)
	for n, url := range world.ServiceURLs() {
		c.replicas = append(c.replicas, &replica{number: n, url: url})
	}
	return &run{t: t, conductor: c, seed: seed}
}

// play runs everything until all messages are decided.
func (r *run) play(ctx context.Context) error {
	for _, replica := range r.replicas {
		testservers.Eventually(r.t, "the replicas are ready", func() bool { return isReady(ctx, r.lookups, replica) })
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r.stop = stop
	var around sync.WaitGroup
	defer around.Wait()
	asking, silence := context.WithCancel(ctx)
	defer silence()
	around.Go(func() { r.poll(asking) })
	around.Go(func() { _ = r.lookups.run(asking, r.replicas) })
	around.Go(func() { r.narrate(asking) })

	r.began = time.Now()
	g, working := errgroup.WithContext(ctx)
	g.Go(func() error { return r.load.run(working) })
	g.Go(func() error { return r.run(working) })
	if err := g.Wait(); err != nil {
		return err
	}
	if err := r.settleAll(ctx); err != nil {
		return err
	}
	err := r.progress(ctx, "everything is decided", func() (int64, bool) { return r.decided.Load(), r.decided.Load() >= r.stored() })
	r.took = time.Since(r.began)
	return err
}

// settleAll waits until the log has everything, and enters what the brokers' stores have at the end.
func (r *run) settleAll(ctx context.Context) error {
	last, err := r.settle(ctx)
	if last == 0 {
		return err
	}
	r.epochs = append(r.epochs, epoch{origin: r.from, last: last})
	if err == nil && r.load.move != nil {
		err = r.settleStream(ctx, last)
	}
	r.published = true
	return err
}

// judge is the verdict on the outcome.
func (r *run) judge(ctx context.Context) error {
	r.t.Log("judging")
	r.checker = newChecker(r.load.ledger, r.problems, r.epochs)
	if err := judgeLog(ctx, r.pool, r.checker); err != nil {
		return fmt.Errorf("judge the log: %w", err)
	}
	if err := judgeStats(ctx, r.lookups, r.replicas, r.checker); err != nil {
		return err
	}
	if err := judgeItself(ctx, r.pool, r.checker); err != nil {
		return err
	}
	for _, replica := range r.replicas {
		testservers.Eventually(r.t, "the replicas have everything", func() bool { return isReady(ctx, r.lookups, replica) })
	}
	return judgeAnswers(ctx, r.lookups, r.replicas)
}

// narrate says how far the run is, for who waits for it.
func (r *run) narrate(ctx context.Context) {
	for ctx.Err() == nil {
		wait(ctx, 30*time.Second)
		r.mu.Lock()
		over := len(r.past)
		r.mu.Unlock()
		r.t.Logf("%v: %d messages confirmed (%d sent again), %d decided, %d faults over, %d lookups served",
			time.Since(r.began).Round(time.Second), r.load.confirmed.Load(), r.load.again.Load(), r.decided.Load(), over, r.lookups.served.Load())
	}
}
