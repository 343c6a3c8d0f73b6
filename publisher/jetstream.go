package publisher

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"orderbox/internal/stream"
)

// streamConn is a session with JetStream.
type streamConn struct {
	conn *nats.Conn
	js   jetstream.JetStream
	o    Options
	run  string // names the messages of one call, together with their numbers

	mu      sync.Mutex
	waiting map[*nats.Msg]func(error) // guarded by mu
}

func (o Options) stream() stream.Options {
	return stream.Options{URL: o.URL, Name: o.Stream, Subject: o.Channel, TLS: o.TLS}
}

func openStream(o Options, clientID string, lose func(error)) (conn, error) {
	at := o.stream()
	at.Client = clientID
	s := &streamConn{o: o, run: clientID, waiting: make(map[*nats.Msg]func(error))}
	nc, js, err := stream.Connect(at, lose,
		jetstream.WithPublishAsyncTimeout(o.AckWait),
		jetstream.WithPublishAsyncMaxPending(o.Window+1), // the loop keeps to the window itself
		jetstream.WithPublishAsyncAckHandler(func(_ jetstream.JetStream, msg *nats.Msg, _ *jetstream.PubAck) { s.settle(msg, nil) }),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, msg *nats.Msg, err error) { s.settle(msg, err) }))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestWait) // while they choose a leader nobody answers
	defer cancel()
	if _, err = stream.Open(ctx, nc, js, at); err == nil {
		err = checkTaken(ctx, js, o)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	s.conn, s.js = nc, js
	return s, nil
}

// ErrNotTaken says that the stream does not take what is published on the channel.
var ErrNotTaken = errors.New("the stream does not take what is published on the channel")

// checkTaken keeps a run from publishing for ever to nobody.
func checkTaken(ctx context.Context, js jetstream.JetStream, o Options) error {
	taken, err := js.StreamNameBySubject(ctx, o.Channel)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound) || err == nil && taken != o.Stream:
		return backoff.Permanent(fmt.Errorf("stream %s, channel %s: %w", o.Stream, o.Channel, ErrNotTaken))
	case err != nil:
		return fmt.Errorf("ask which stream takes %s: %w", o.Channel, err)
	}
	return nil
}

// publish names the message, so that the stream has it once when it comes again.
func (s *streamConn) publish(m *message, done func(error)) error {
	msg := nats.NewMsg(s.o.Channel)
	msg.Data = m.payload
	msg.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s-%d", s.run, m.number))
	s.mu.Lock()
	s.waiting[msg] = done
	s.mu.Unlock()
	_, err := s.js.PublishMsgAsync(msg)
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, waits := s.waiting[msg]; !waits {
		return nil // done was called
	}
	delete(s.waiting, msg)
	return err
}

// settle calls done once, whoever is first.
func (s *streamConn) settle(msg *nats.Msg, err error) {
	s.mu.Lock()
	done := s.waiting[msg]
	delete(s.waiting, msg)
	s.mu.Unlock()
	if done != nil {
		done(err)
	}
}

func (s *streamConn) close() {
	s.conn.Close()
	s.mu.Lock()
	waiting := s.waiting
	s.waiting = make(map[*nats.Msg]func(error))
	s.mu.Unlock()
	for _, done := range waiting {
		done(nats.ErrConnectionClosed)
	}
}
