package ingest

import (
	"context"
	"fmt"
	"sync"

	"orderbox/inbox"
	"orderbox/internal/retry"
	"orderbox/internal/stream"
)

// group names the durable subscription, which replicas share: by it the broker remembers how far they have come together.
const group = "orderbox"

// session is a connection with a broker, on which messages of the durable subscription come into the hand by themselves.
type session interface {
	// extent returns the first and the last message that the broker has; sequences of zero when it has none.
	extent(ctx context.Context) (first, last identity, err error)
	// fetch has messages delivered into the hand again, and returns when those that the broker has are there, or when nothing
	// comes any more. It calls came for each, from one goroutine.
	fetch(ctx context.Context, span inbox.Span, came func(identity)) error
	// close ends the session, after the acknowledgements that were written before. The broker remembers the subscription.
	close() error
}

// followSessions keeps one session up until ctx ends, and audits until taking does.
func (g *Ingester) followSessions(ctx, taking context.Context) {
	for ctx.Err() == nil {
		g.followSession(ctx, taking)
	}
}

// followSession returns when a session was closed: because ctx ended, or to have what there was no room for delivered
// by the next one, at once.
func (g *Ingester) followSession(ctx, taking context.Context) {
	retry.Forever(ctx, g.log, "receive", func(ctx context.Context, works func()) error {
		lost, lose := stream.Lost()
		g.sessions.Add(1)
		session, err := g.connect(ctx, lose)
		if err != nil {
			return err
		}
		defer g.metrics.connected.Set(0)
		defer g.connected.Store(false)
		works()
		g.connected.Store(true)
		g.metrics.connected.Set(1)
		g.log.Info("receiving", "channel", g.audit.channel, "client_id", g.o.ClientID)

		auditing, stop := context.WithCancel(taking)
		var group sync.WaitGroup
		group.Go(func() { g.audit.run(auditing, session) })
		defer group.Wait()
		defer stop()
		select {
		case err := <-lost:
			return fmt.Errorf("session lost: %w", err)
		case <-g.hand.missed:
			g.large.Store(true)
		case <-ctx.Done():
		}
		return session.close()
	})
}

// receive takes what the durable subscription delivers, from one goroutine a session, and says whether it is in the hand.
func (g *Ingester) receive(d *delivery, again bool, put func(*delivery) bool) bool {
	g.metrics.received.Inc()
	if again {
		g.metrics.redelivered.Inc()
	}
	d.first = !again
	held := put(d)
	if !held {
		g.metrics.dropped.Inc()
	}
	g.audit.saw(d.identity)
	return held
}
