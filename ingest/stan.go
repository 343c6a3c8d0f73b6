package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/stan.go"

	"orderbox/inbox"
	"orderbox/internal/stream"
)

const (
	// fetchWait is how long the broker may take to deliver a message that it has.
	fetchWait = 5 * time.Second
	// fetchInFlight times the largest message is what can wait for the hand.
	fetchInFlight = 32
)

// stanSession is a session with NATS Streaming.
type stanSession struct {
	conn    stan.Conn
	channel string
	// settle is twice the time after which what was not acknowledged is delivered again.
	settle time.Duration
	g      *Ingester
}

func (o Options) stan() stream.STAN {
	return stream.STAN{URL: o.URL, Cluster: o.Cluster, Client: o.ClientID, TLS: o.TLS}
}

// connectSTAN builds a session with its subscription.
//
// A lost NATS connection ends the session too. Were it taken up again by itself, a broker that crashed
// soon after a durable was resumed could answer its pings and have forgotten its subscription, for it
// writes a client down at once and a resumed subscription later: connected, and deaf for ever.
func (g *Ingester) connectSTAN(_ context.Context, lose func(error)) (session, error) {
	conn, err := g.o.stan().Connect(lose)
	if err != nil {
		return nil, fmt.Errorf("connect to cluster %s as %s: %w", g.o.Cluster, g.o.ClientID, err)
	}
	g.audit.begin(g.o.Channel)
	s := &stanSession{conn: conn, channel: g.o.Channel, settle: 2 * g.o.AckWait, g: g}
	_, err = conn.QueueSubscribe(g.o.Channel, group, s.receive,
		stan.DurableName(group),
		stan.SetManualAckMode(),
		stan.AckWait(g.o.AckWait),
		stan.MaxInflight(g.inFlight(conn.NatsConn().MaxPayload())),
		stan.DeliverAllAvailable()) // counts only for a durable that the broker does not know
	if err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to %s: %w", g.o.Channel, err), conn.Close())
	}
	return s, nil
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

// receive is STAN's callback, called by one goroutine a session. It never blocks, for behind it is a buffer without a bound.
func (s *stanSession) receive(msg *stan.Msg) {
	s.g.receive(s.delivery(msg), msg.Redelivered, s.g.hand.put)
}

// delivery moves a message over; its payload is left in one place.
func (s *stanSession) delivery(msg *stan.Msg) *delivery {
	d := &delivery{identity: identity{s.channel, msg.Sequence, msg.Timestamp}, payload: msg.Data, ack: msg}
	msg.Data = nil
	return d
}

func (s *stanSession) extent(ctx context.Context) (first, last identity, err error) {
	if last, err = s.peek(ctx, stan.StartWithLastReceived()); err != nil || last.sequence == 0 {
		return first, last, err
	}
	first, err = s.peek(ctx, stan.DeliverAllAvailable())
	return first, last, err
}

// peek returns the message that a subscription starts with; a zero sequence when there is none.
func (s *stanSession) peek(ctx context.Context, start stan.SubscriptionOption) (identity, error) {
	origin, err := stream.Peek(ctx, s.conn, s.channel, start)
	if errors.Is(err, stream.ErrSilent) {
		return identity{}, nil
	}
	return identity{origin.Channel, origin.Sequence, origin.Stamp}, err
}

// fetch is by a subscription of its own: plain, not durable, and in no group, so that it moves nothing.
func (s *stanSession) fetch(ctx context.Context, span inbox.Span, came func(identity)) error {
	progress, beyond := make(chan struct{}, 1), make(chan struct{}, 1)
	sub, err := s.conn.Subscribe(s.channel, func(msg *stan.Msg) {
		sequence := int64(msg.Sequence)
		if d := s.delivery(msg); sequence <= span.To && s.g.hand.put(d) && !msg.Redelivered {
			came(d.identity)
		}
		signal(progress)
		if sequence >= span.To {
			signal(beyond)
		}
	}, stan.StartAtSequence(uint64(span.From)), stan.SetManualAckMode(), stan.AckWait(s.settle/2), stan.MaxInflight(fetchInFlight))
	if err != nil {
		return fmt.Errorf("ask the broker for messages again: %w", err)
	}
	defer s.leave(ctx, sub)
	for {
		select {
		case <-beyond:
			return nil
		case <-progress:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(max(fetchWait, s.settle)): // long enough for what the hand had no room for
			return nil
		}
	}
}

// leave ends a subscription beside the durable one; the end of the session does it as well, and at once.
func (s *stanSession) leave(ctx context.Context, sub stan.Subscription) {
	if ctx.Err() != nil {
		return
	}
	if err := sub.Close(); err != nil {
		s.g.log.Debug("close a subscription", "error", err)
	}
}

// close keeps the durable: only Unsubscribe would delete it.
func (s *stanSession) close() error {
	if nc := s.conn.NatsConn(); nc != nil {
		if err := nc.FlushTimeout(time.Second); err != nil {
			return fmt.Errorf("flush acknowledgements: %w", errors.Join(err, s.conn.Close()))
		}
	}
	return s.conn.Close()
}
