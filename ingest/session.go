package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"

	"orderbox/internal/natstls"
	"orderbox/internal/retry"
)

// group names the queue group and its durable: with them the broker remembers how far the replicas,
// together, have come.
const group = "orderbox"

const (
	// A broker that has answered none of three pings a second apart is taken for lost. STAN's own
	// defaults would need more than seven minutes.
	pingSeconds = 1
	pingMax     = 3
	connectWait = 3 * time.Second
	// flushWait bounds how long an acknowledgement can hang on a socket that is stuck.
	flushWait = 5 * time.Second
)

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
		lost := make(chan error, 1)
		conn, err := g.connect(lost)
		if err != nil {
			return err
		}
		defer g.metrics.connected.Set(0)
		defer g.connected.Store(false)
		works()
		g.connected.Store(true)
		g.metrics.connected.Set(1)
		g.log.Info("receiving", "cluster", g.o.Cluster, "channel", g.o.Channel, "client_id", g.o.ClientID)

		auditing, stop := context.WithCancel(taking)
		var group sync.WaitGroup
		group.Go(func() { g.audit.run(auditing, conn) })
		defer group.Wait()
		defer stop()
		select {
		case err := <-lost:
			return fmt.Errorf("session lost: %w", err)
		case <-g.hand.missed:
			g.large.Store(true)
		case <-ctx.Done():
		}
		return closeSession(conn)
	})
}

// connect builds a session with its subscription; its loss will be sent on lost, which has room for one.
//
// A lost NATS connection ends the session too. Were it taken up again by itself, a broker that crashed
// soon after a durable was resumed could answer its pings and have forgotten its subscription, for it
// writes a client down at once and a resumed subscription later: connected, and deaf for ever.
func (g *Ingester) connect(lost chan<- error) (stan.Conn, error) {
	lose := func(err error) {
		select {
		case lost <- err:
		default: // it is known already
		}
	}
	options := append(g.o.TLS.Options(),
		nats.Timeout(connectWait), nats.Name(g.o.ClientID), nats.FlusherTimeout(flushWait), nats.NoReconnect(),
		nats.ClosedHandler(func(nc *nats.Conn) { lose(cmp.Or(nc.LastError(), nats.ErrConnectionClosed)) }))
	conn, err := stan.Connect(g.o.Cluster, g.o.ClientID,
		stan.NatsURL(g.o.URL),
		stan.NatsOptions(options...),
		stan.ConnectWait(connectWait),
		stan.Pings(pingSeconds, pingMax),
		stan.SetConnectionLostHandler(func(_ stan.Conn, err error) { lose(err) }))
	if advice := natstls.Advice(err); advice != "" {
		err = fmt.Errorf("%w; try: %s", err, advice)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to cluster %s as %s: %w", g.o.Cluster, g.o.ClientID, err)
	}
	g.audit.begin()
	_, err = conn.QueueSubscribe(g.o.Channel, group, g.receive,
		stan.DurableName(group),
		stan.SetManualAckMode(),
		stan.AckWait(g.o.AckWait),
		stan.MaxInflight(g.inFlight(conn.NatsConn().MaxPayload())),
		stan.DeliverAllAvailable()) // counts only for a durable that the broker does not know
	if err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to %s: %w", g.o.Channel, err), conn.Close())
	}
	return conn, nil
}

// inFlight is how many messages the broker may deliver without acknowledgement: one batch that commits and one
// that gathers. If some were too large for so many to fit the hand, it is from then on as many as fit if each is as large
// as the broker permits, so that none is dropped again. Where that is very large, there are still enough for a
// commit to be worth it, and the hand may drop some.
func (g *Ingester) inFlight(maxPayload int64) int {
	if !g.large.Load() {
		return 2 * g.o.Batch
	}
	const enough = 128
	return min(2*g.o.Batch, max(enough, int(maxHandBytes/max(1, maxPayload))))
}

// receive is STAN's callback, called by one goroutine a session. It never blocks.
func (g *Ingester) receive(msg *stan.Msg) {
	g.metrics.received.Inc()
	if msg.Redelivered {
		g.metrics.redelivered.Inc()
	}
	if !g.hand.put(msg) {
		g.metrics.dropped.Inc()
	}
	g.audit.saw(msg)
}

// closeSession keeps the durable: only Unsubscribe would delete it. The acknowledgements that were
// written before are flushed first.
func closeSession(conn stan.Conn) error {
	if nc := conn.NatsConn(); nc != nil {
		if err := nc.FlushTimeout(time.Second); err != nil {
			return fmt.Errorf("flush acknowledgements: %w", errors.Join(err, conn.Close()))
		}
	}
	return conn.Close()
}
