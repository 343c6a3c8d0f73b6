package chaos

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/faults"
	"orderbox/internal/verify"
)

const (
	// atOnce is how many faults may be under way at a time.
	atOnce = 2
	// patience is how long the world may stand still. Only a failing run waits so long.
	patience  = 10 * time.Minute
	lookAgain = 100 * time.Millisecond
	pollEvery = 500 * time.Millisecond
)

// happened is a fault that is over.
type happened struct {
	planned
	began    time.Duration // since the run began
	together bool          // another one was under way when it began
	struck   time.Time
	replaced time.Duration // from then until another one led
	back     time.Duration // from its end until all was ready and went on
}

// conductor strikes as planned.
type conductor struct {
	world    *faults.World
	plan     []planned
	load     *load
	lookups  *lookups
	problems *problems
	replicas []*replica
	pool     *pgxpool.Pool
	began    time.Time
	stop     func() // gives the run up

	from     origin       // of what the broker has, once it was asked
	underWay atomic.Int64 // faults
	decided  atomic.Int64 // entries that the projector is through with

	running sync.WaitGroup
	slots   chan struct{}
	targets map[string]*sync.Mutex // a target has one fault at a time

	mu     sync.Mutex
	past   []happened
	lives  []string
	epochs []epoch // those that are over
}

// run strikes as the messages go by, and opens the gate for the rest when all is over.
func (c *conductor) run(ctx context.Context) error {
	defer c.running.Wait()
	c.slots = make(chan struct{}, atOnce)
	c.targets = map[string]*sync.Mutex{}
	c.lives = make([]string, len(c.replicas))
	for _, r := range c.replicas {
		c.lives[r.number], _ = c.world.Life(ctx, r.number)
	}
	for i, p := range c.plan {
		c.load.gate.open(p.at)
		if !c.load.gate.reach(ctx, p.at) {
			return ctx.Err()
		}
		if p.alone {
			c.running.Wait()
		}
		next := int64(c.load.messages)
		if i+1 < len(c.plan) {
			next = c.plan[i+1].at
		}
		if err := c.strike(ctx, p, next); err != nil {
			return fmt.Errorf("fault %d (%v): %w", p.number, p, err)
		}
	}
	c.running.Wait()
	c.load.gate.open(int64(c.load.messages))
	return nil
}

// strike begins a fault, and lets messages through up to the next one.
func (c *conductor) strike(ctx context.Context, p planned, next int64) error {
	c.slots <- struct{}{}
	unlock, err := c.claim(ctx, &p)
	release := func() {
		unlock()
		<-c.slots
	}
	if err == nil && p.Kind == faults.Wipe {
		err = c.endEpoch(ctx)
	}
	if err != nil {
		release()
		return err
	}
	h := happened{planned: p, began: time.Since(c.began), together: c.underWay.Add(1) > 1}
	if silences(p.Fault) {
		c.replicas[p.N].strikes.Add(1)
		c.replicas[p.N].struck.Add(1)
	}
	if p.Kind != faults.Wipe {
		c.load.gate.open(next) // an orderly restart takes its time, and messages come meanwhile
	}
	heal, err := c.world.Strike(ctx, p.Fault)
	if err != nil {
		release()
		return err
	}
	h.struck = time.Now()
	c.pool.Reset() // another server may be the primary now, and one that is not any more still in reach
	c.load.gate.open(next)
	c.running.Go(func() {
		defer release()
		c.end(ctx, h, heal)
	})
	return nil
}

// claim finds out whom a fault strikes, and keeps other faults off. That may take until one before it is over, and
// then it may be another one.
func (c *conductor) claim(ctx context.Context, p *planned) (unlock func(), err error) {
	for {
		if err := c.choose(ctx, p); err != nil {
			return func() {}, err
		}
		key := fmt.Sprint(p.Target, p.N)
		if c.targets[key] == nil {
			c.targets[key] = new(sync.Mutex)
		}
		target, chosen := c.targets[key], p.N
		target.Lock()
		if err := c.choose(ctx, p); err != nil || p.N == chosen {
			return target.Unlock, err
		}
		target.Unlock()
	}
}

// end lets a fault last, heals it, and waits until the service has recovered.
func (c *conductor) end(ctx context.Context, h happened, heal func(context.Context) error) {
	if h.succeeds() {
		c.awaitSuccessor(ctx, &h)
	}
	wait(ctx, h.hold-time.Since(h.struck))
	if err := heal(ctx); err != nil {
		c.problems.add("a fault could not be healed", "fault %d (%v): %v", h.number, h, err)
		c.stop()
		return
	}
	healed, decided := time.Now(), c.decided.Load()
	deadline := healed.Add(patience)
	for !c.recovered(ctx, h, decided) {
		if ctx.Err() != nil || time.Now().After(deadline) {
			c.problems.add("the service did not come back by itself", "after fault %d (%v): %d messages are decided, %d were at its end, and %d are confirmed",
				h.number, h, c.decided.Load(), decided, c.load.confirmed.Load())
			c.stop()
			return
		}
		wait(ctx, lookAgain)
	}
	h.back = time.Since(healed)
	if h.succeeds() && h.Target == faults.Service {
		c.awaitObedience(ctx, h)
	}
	c.underWay.Add(-1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if silences(h.Fault) {
		c.replicas[h.N].struck.Add(-1)
	}
	c.past = append(c.past, h)
	c.checkLives(ctx, h)
}

// recovered says whether every replica that no other fault silences is ready, and messages are decided again.
func (c *conductor) recovered(ctx context.Context, h happened, decided int64) bool {
	for _, r := range c.replicas {
		own := silences(h.Fault) && h.N == r.number
		if (own || r.struck.Load() == 0) && !isReady(ctx, c.lookups, r) {
			return false
		}
	}
	now := c.decided.Load()
	return now > decided || now >= c.load.confirmed.Load()
}

// checkLives sees to it that only those faults end a process that are meant to. c.mu is held.
func (c *conductor) checkLives(ctx context.Context, h happened) {
	for _, r := range c.replicas {
		if r.struck.Load() > 0 {
			continue
		}
		life, err := c.world.Life(ctx, r.number)
		if err != nil {
			c.problems.add("a replica's process cannot be named", "%v", err)
			continue
		}
		own := silences(h.Fault) && h.N == r.number
		if life != c.lives[r.number] && !own {
			c.problems.add("a replica's process ended though no fault struck it", "replica %d, seen after fault %d (%v)", r.number, h.number, h)
		}
		c.lives[r.number] = life
	}
}

// endEpoch waits until the log has everything that the broker's store has; nothing is under way then.
func (c *conductor) endEpoch(ctx context.Context) error {
	last, err := c.settle(ctx)
	if err != nil {
		return fmt.Errorf("before a wipe: %w", err)
	}
	c.epochs = append(c.epochs, epoch{origin: c.from, until: time.Now(), last: last})
	return nil
}

// settle waits until the broker has confirmed what publishers took, and the log has what the broker
// stored. It returns the broker's last sequence.
func (c *conductor) settle(ctx context.Context) (last int64, err error) {
	var since time.Time
	if n := len(c.epochs); n > 0 {
		since = c.epochs[n-1].until
	}
	err = c.progress(ctx, "the broker confirms what is published", func() (int64, bool) {
		confirmed := c.load.confirmed.Load()
		return confirmed, confirmed >= c.taken()
	})
	if err != nil {
		return 0, err
	}
	if last, err = c.ask(ctx); err != nil {
		return 0, err
	}
	return last, c.progress(ctx, "the log has what the broker stored", func() (int64, bool) {
		n, err := countSince(ctx, c.pool, since)
		return n, err == nil && n >= last
	})
}

func (c *conductor) taken() int64 {
	c.load.gate.mu.Lock()
	defer c.load.gate.mu.Unlock()
	return c.load.gate.taken
}

// progress waits until done, as long as the number goes on growing.
func (c *conductor) progress(ctx context.Context, what string, look func() (n int64, done bool)) error {
	most, moved := int64(-1), time.Now()
	for {
		n, done := look()
		if done {
			return nil
		}
		if n > most {
			most, moved = n, time.Now()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(moved) > patience {
			return fmt.Errorf("%s: it stands at %d for %v", what, n, patience)
		}
		wait(ctx, lookAgain)
	}
}

// poll follows the balance until ctx ends, and holds publishers back when the service is far behind.
func (c *conductor) poll(ctx context.Context) {
	for ctx.Err() == nil {
		asking, cancel := context.WithTimeout(ctx, 5*time.Second)
		if b, err := verify.Stats(asking, c.pool); err == nil {
			c.decided.Store(b.Received - b.Pending)
		}
		cancel()
		c.load.gate.setHold(c.load.confirmed.Load()-c.decided.Load() > maxBehind)
		wait(ctx, pollEvery)
	}
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
