package chaos

import (
	"context"
	"slices"
	"time"

	"orderbox/internal/faults"
)

// replaceWithin is how long the projecting may be nobody's. It is to be five seconds; a machine that has much else
// to do takes longer, and one that nobody takes for hanging is replaced after two minutes.
const replaceWithin = 30 * time.Second

// leaders are the numbers of those that say they lead: a broker, or the projecting. One that was cut off may say so
// for a while after it was replaced.
func (c *conductor) leaders(ctx context.Context, target faults.Target) (all []int) {
	if target != faults.Service {
		return c.world.Leaders(ctx, target)
	}
	for _, r := range c.replicas {
		if projects(ctx, c.lookups, r) {
			all = append(all, r.number)
		}
	}
	return all
}

// projects asks a replica whether it is the one that projects. One that is paused does not answer.
func projects(ctx context.Context, l *lookups, r *replica) bool {
	_, roles := askReady(ctx, l, r, time.Second)
	return roles["projector"] == "leading"
}

// choose finds out whom a fault strikes by its rank, as soon as one leads.
func (c *conductor) choose(ctx context.Context, p *planned) error {
	if p.rank == named {
		return nil
	}
	return c.progress(ctx, "one leads", func() (n int64, done bool) {
		all := c.leaders(ctx, p.Target)
		if len(all) != 1 {
			return 0, false
		}
		if p.N = all[0]; p.rank == following {
			p.N = (p.N + 1) % nodes
		}
		return 0, true
	})
}

// awaitSuccessor waits until another one leads in the place of the one that was struck.
func (c *conductor) awaitSuccessor(ctx context.Context, h *happened) {
	err := c.progress(ctx, "another one leads", func() (n int64, done bool) {
		return 0, slices.ContainsFunc(c.leaders(ctx, h.Target), func(n int) bool { return n != h.N })
	})
	h.replaced = time.Since(h.struck)
	if err != nil {
		c.problems.add("nobody took the place of the one that was struck", "fault %d (%v): %v", h.number, h, err)
	}
	if h.Target == faults.Service && h.replaced > replaceWithin {
		c.problems.add("it took too long until another replica projected", "fault %d (%v): %v", h.number, h, h.replaced)
	}
}

// awaitObedience waits until the replica that was replaced knows it. Its successor has the lock as long as it lives, so
// it must not get it back.
func (c *conductor) awaitObedience(ctx context.Context, h happened) {
	err := c.progress(ctx, "the one that was replaced stands by", func() (n int64, done bool) {
		all := c.leaders(ctx, h.Target)
		return 0, len(all) == 1 && all[0] != h.N
	})
	if err != nil {
		c.problems.add("one that was replaced goes on", "fault %d (%v): %v", h.number, h, err)
	}
}
