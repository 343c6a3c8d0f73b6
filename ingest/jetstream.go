package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"orderbox/inbox"
	"orderbox/internal/stream"
)

const (
	// A consumer that says nothing for two heartbeats is taken for lost.
	heartbeat  = 2 * time.Second
	pullExpiry = 10 * time.Second
	// pullBytes is how much is asked for at a time, but of a server that permits larger messages.
	pullBytes = 16 << 20
)

// streamSession is a session with JetStream.
type streamSession struct {
	conn     *nats.Conn
	stream   jetstream.Stream
	channel  string
	messages jetstream.MessagesContext // of the durable consumer
	g        *Ingester
}

func (o Options) stream() stream.Options {
	return stream.Options{URL: o.URL, Name: o.Stream, Subject: o.Channel, Client: o.ClientID, TLS: o.TLS}
}

// connectStream builds a session with its consumer, in whose name it pulls.
//
// The server does not notice that a client died, and delivers what that one had in hand again after AckWait only, when
// newer messages have long passed it. So a session begins with what was delivered to anybody and is not in the log.
func (g *Ingester) connectStream(ctx context.Context, lose func(error)) (_ session, err error) {
	conn, js, err := stream.Connect(g.o.stream(), lose)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	s := &streamSession{conn: conn, g: g}
	if s.stream, err = stream.Open(ctx, conn, js, g.o.stream()); err != nil {
		return nil, err
	}
	s.channel = stream.Channel(g.o.Stream, s.stream.CachedInfo().Created)
	consumer, err := s.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       group,
		DeliverPolicy: jetstream.DeliverAllPolicy, // counts only for a consumer that the server does not know
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       g.o.AckWait,
		MaxDeliver:    -1,
		// Each replica bounds what it pulls. A bound for all would let one that died hold up the others.
		MaxAckPending: -1,
	})
	if err != nil {
		return nil, fmt.Errorf("make the consumer %s of the stream %s: %w", group, g.o.Stream, err)
	}
	g.audit.begin(s.channel)
	info := consumer.CachedInfo()
	if err := g.audit.resume(ctx, s, info.AckFloor.Stream+1, info.Delivered.Stream); err != nil {
		return nil, fmt.Errorf("fetch what was delivered before: %w", err)
	}
	s.messages, err = consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(2*g.o.Batch, max(pullBytes, 2*int(conn.MaxPayload()))),
		jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return nil, fmt.Errorf("pull from the stream %s: %w", g.o.Stream, err)
	}
	go func() {
		if err := s.receive(ctx); err != nil {
			lose(err)
			conn.Close()
		}
	}()
	return s, nil
}

// receive pulls until the session is closed or lost, and says why; nil when nothing is taken any more. What does not fit the
// hand waits, and with it what could be pulled. What is left at the end is given back at once, for other replicas.
func (s *streamSession) receive(ctx context.Context) error {
	stopping := false
	for {
		msg, err := s.messages.Next()
		if stopping && err != nil {
			return nil
		}
		if err != nil {
			return err
		}
		d, again, err := s.delivery(msg)
		if err != nil {
			return err
		}
		if !s.g.receive(d, again, func(d *delivery) bool { return s.g.hand.putWhenFits(ctx, d) }) {
			stopping = true
			s.messages.Drain() // or what is given back would come back
			_ = msg.Nak()      // an error means a dead session, and the message comes again after AckWait
		}
	}
}

// delivery is a message as the log identifies it.
func (s *streamSession) delivery(msg jetstream.Msg) (d *delivery, again bool, err error) {
	about, err := msg.Metadata()
	if err != nil {
		return nil, false, fmt.Errorf("a message of the stream %s: %w", s.g.o.Stream, err)
	}
	d = s.stored(msg.Subject(), msg.Headers(), about.Sequence.Stream, about.Timestamp, msg.Data())
	d.ack = reply{s.conn, msg.Reply()}
	return d, about.NumDelivered > 1, nil
}

// stored is a message as the stream has it.
func (s *streamSession) stored(subject string, header nats.Header, sequence uint64, at time.Time, payload []byte) *delivery {
	d := &delivery{identity: identity{s.channel, sequence, at.UnixNano()}, payload: payload}
	if origin, ok := stream.OriginOf(subject, header); ok {
		d.copyOf = &inbox.Identity{Source: inbox.SourceSTAN, Channel: origin.Channel, Sequence: int64(origin.Sequence),
			StampedAt: time.Unix(0, origin.Stamp).UTC()}
	}
	return d
}

// reply acknowledges a message and, unlike that, keeps no payload.
type reply struct {
	conn    *nats.Conn
	subject string
}

// Ack writes the acknowledgement; close flushes it.
func (r reply) Ack() error { return r.conn.Publish(r.subject, ackPayload) }

var ackPayload = []byte("+ACK")

func (s *streamSession) extent(ctx context.Context) (first, last identity, err error) {
	info, err := s.stream.Info(ctx)
	if err != nil {
		return first, last, fmt.Errorf("ask the broker what it has: %w", err)
	}
	if info.State.Msgs == 0 {
		return first, last, nil
	}
	// A stream never counts anew, so no stamp is too early.
	first = identity{s.channel, info.State.FirstSeq, 0}
	last = identity{s.channel, info.State.LastSeq, info.State.LastTime.UnixNano()}
	return first, last, nil
}

// fetch asks for one message after the other. That takes no consumer, of which there would be one for each hole, and works with
// any stream.
func (s *streamSession) fetch(ctx context.Context, span inbox.Span, came func(identity)) error {
	for next := uint64(span.From); next <= uint64(span.To); next++ {
		msg, err := s.stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(">")) // or the first behind it
		if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && msg.Sequence > uint64(span.To) {
			return nil // the broker has nothing more of it
		}
		if err != nil {
			return fmt.Errorf("fetch messages again: %w", err)
		}
		d := s.stored(msg.Subject, msg.Header, msg.Sequence, msg.Time, msg.Data)
		if !s.g.hand.putWhenFits(ctx, d) {
			return errHandClosed
		}
		came(d.identity)
		next = msg.Sequence
	}
	return nil
}

var errHandClosed = errors.New("nothing is taken any more")

// close leaves the consumer to the next session.
func (s *streamSession) close() error {
	err := s.conn.FlushTimeout(time.Second)
	s.conn.Close() // and with it what pulls
	if err != nil {
		return fmt.Errorf("flush acknowledgements: %w", err)
	}
	return nil
}
