package stream

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/stan.go"

	"orderbox/internal/natstls"
)

// STAN says where a NATS Streaming cluster is. All but TLS are needed.
type STAN struct {
	URL     string // of a NATS server, or several with commas
	Cluster string
	Client  string // the client id: one at a time
	TLS     natstls.Files
}

// Connect opens a session, which stan.go never mends: once it or its connection is lost, lose is called with the reason. It
// may be called again. By STAN's own defaults the loss would be noticed after more than seven minutes.
func (o STAN) Connect(lose func(error)) (stan.Conn, error) {
	options := append(o.TLS.Options(),
		nats.Timeout(connectWait), nats.Name(o.Client), nats.FlusherTimeout(flushWait), nats.NoReconnect(),
		nats.ClosedHandler(func(nc *nats.Conn) { lose(cmp.Or(nc.LastError(), nats.ErrConnectionClosed)) }))
	conn, err := stan.Connect(o.Cluster, o.Client,
		stan.NatsURL(o.URL),
		stan.NatsOptions(options...),
		stan.ConnectWait(connectWait),
		stan.Pings(int(pingEvery/time.Second), pingsOut),
		stan.SetConnectionLostHandler(func(_ stan.Conn, err error) { lose(err) }))
	if advice := natstls.Advice(err); advice != "" {
		err = fmt.Errorf("%w; try: %s", err, advice)
	}
	return conn, err
}

// peekWait is how long STAN may take to deliver a message that it has.
const peekWait = 5 * time.Second

// ErrSilent says that STAN delivered nothing: because the channel is empty or because STAN is not well. Which of the two
// it does not say.
var ErrSilent = fmt.Errorf("STAN has delivered nothing of the channel within %s", peekWait)

// Peek returns the message that a subscription starts with, and moves nothing; ErrSilent when none came.
func Peek(ctx context.Context, conn stan.Conn, channel string, start stan.SubscriptionOption) (Origin, error) {
	got := make(chan Origin, 1)
	sub, err := conn.Subscribe(channel, func(msg *stan.Msg) {
		select {
		case got <- Origin{channel, msg.Sequence, msg.Timestamp}:
		default:
		}
	}, start, stan.SetManualAckMode(), stan.MaxInflight(1)) // without acknowledgement it is one alone
	if err != nil {
		return Origin{}, fmt.Errorf("ask STAN what it has: %w", err)
	}
	defer func() {
		if ctx.Err() == nil { // the end of the session ends it as well, and at once
			_ = sub.Close() // an error means a dead session, which says so itself
		}
	}()
	select {
	case origin := <-got:
		return origin, nil
	case <-ctx.Done():
		return Origin{}, ctx.Err()
	case <-time.After(peekWait):
		return Origin{}, ErrSilent
	}
}

// Lost returns what connecting calls when a connection is lost, from any goroutine and however often, and a channel that has
// the first reason.
func Lost() (lost <-chan error, lose func(error)) {
	reason := make(chan error, 1)
	return reason, func(err error) {
		select {
		case reason <- err:
		default: // it is known already
		}
	}
}

// Hosts are the servers of a URL, or of several with commas, without the users, passwords and tokens that may be in it.
func Hosts(urls string) (names []string) {
	for server := range strings.SplitSeq(urls, ",") {
		server = strings.TrimSpace(server)
		if u, err := url.Parse(server); err == nil && u.Host != "" {
			server = u.Host
		}
		names = append(names, server[strings.LastIndex(server, "@")+1:])
	}
	return names
}
