package publisher

import (
	"cmp"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"
)

const (
	// A session is given up when three pings, two seconds apart, stay without an answer.
	pingSeconds = 2
	pingsOut    = 3

	// How long the broker may take for connecting and for closing, each.
	requestWait = 2 * time.Second
	// How long a write to the broker's socket may block.
	writeWait = 5 * time.Second
)

// session is one with a broker. It is never mended: stan.go restores nothing, and of a NATS connection
// that came back nobody knows whether the broker behind it still knows the session. So whatever is lost
// ends it, and another is built.
type session struct {
	conn
	lost chan struct{} // closed when the session can no longer be used
	why  error         // to be read then
}

// conn is what the brokers have in common.
type conn interface {
	// publish returns nil when done will be called, once, with what became of the message.
	publish(m *message, done func(error)) error
	// close ends the session. What is not confirmed yet fails.
	close()
}

func openSession(o Options, clientID string) (*session, error) {
	s := &session{lost: make(chan struct{})}
	var once sync.Once
	lose := func(why error) { once.Do(func() { s.why = why; close(s.lost) }) }
	open := openSTAN
	if o.Stream != "" {
		open = openStream
	}
	conn, err := open(o, clientID, lose)
	if err != nil {
		return nil, err
	}
	s.conn = conn
	return s, nil
}

type stanConn struct {
	conn    stan.Conn
	channel string
}

func openSTAN(o Options, clientID string, lose func(error)) (conn, error) {
	options := append(o.TLS.Options(),
		nats.Timeout(requestWait),
		nats.FlusherTimeout(writeWait),
		nats.NoReconnect(),
		nats.ClosedHandler(func(nc *nats.Conn) { lose(cmp.Or(nc.LastError(), nats.ErrConnectionClosed)) }),
	)
	conn, err := stan.Connect(o.Cluster, clientID,
		stan.NatsURL(o.URL),
		stan.NatsOptions(options...),
		stan.ConnectWait(requestWait),
		stan.Pings(pingSeconds, pingsOut),
		stan.SetConnectionLostHandler(func(_ stan.Conn, err error) { lose(err) }),
		stan.PubAckWait(o.AckWait),
		// The loop keeps to the window itself, so PublishAsync never blocks for one.
		stan.MaxPubAcksInflight(o.Window),
	)
	if err != nil {
		return nil, err
	}
	return stanConn{conn, o.Channel}, nil
}

func (s stanConn) publish(m *message, done func(error)) error {
	_, err := s.conn.PublishAsync(s.channel, m.payload, func(_ string, err error) { done(err) })
	return err
}

// close has stan.go fail what is not confirmed.
func (s stanConn) close() {
	_ = s.conn.Close() // a broker that does not hear it will notice by itself
}
