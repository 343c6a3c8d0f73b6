package cutover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"

	"orderbox/internal/natstls"
	"orderbox/internal/stream"
)

const (
	// A broker that has answered none of three pings a second apart is taken for lost.
	pingSeconds = 1
	pingMax     = 3
	connectWait = 3 * time.Second
	flushWait   = 5 * time.Second
	// peekWait is how long the broker may take to deliver a message that it has.
	peekWait = 5 * time.Second
	// ackWait is after how long the broker delivers again what was not acknowledged.
	ackWait = 30 * time.Second
	// maxInFlight and maxInFlightBytes bound what was delivered and is not acknowledged.
	maxInFlight      = 4 * maxBatch
	maxInFlightBytes = 256 << 20
)

// errSilent says that STAN delivered nothing: because the channel is empty or because STAN is not well. Which of the two
// it does not say.
var errSilent = fmt.Errorf("STAN has delivered nothing of the channel within %s", peekWait)

// errLarge says that so many messages do not fit into memory.
var errLarge = errors.New("messages are large: fewer are asked for at a time")

// STAN says where the channel is. All but TLS are needed.
type STAN struct {
	URL     string // of a NATS server, or several with commas
	Cluster string
	Channel string
	Client  string // the client id: one at a time
	TLS     natstls.Files
}

// connect builds a session; lose is called once it is lost, which stan.go never mends.
func (o STAN) connect(lose func(error)) (stan.Conn, error) {
	options := append(o.TLS.Options(),
		nats.Timeout(connectWait), nats.Name(o.Client), nats.FlusherTimeout(flushWait), nats.NoReconnect(),
		nats.ClosedHandler(func(nc *nats.Conn) { lose(cmp.Or(nc.LastError(), nats.ErrConnectionClosed)) }))
	conn, err := stan.Connect(o.Cluster, o.Client,
		stan.NatsURL(o.URL),
		stan.NatsOptions(options...),
		stan.ConnectWait(connectWait),
		stan.Pings(pingSeconds, pingMax),
		stan.SetConnectionLostHandler(func(_ stan.Conn, err error) { lose(err) }))
	if advice := natstls.Advice(err); advice != "" {
		err = fmt.Errorf("%w; try: %s", err, advice)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to STAN at %s (--nats-url), to cluster %s as %s: %w", hosts(o.URL), o.Cluster, o.Client, err)
	}
	return conn, nil
}

// connectStream connects to the stream's servers, and says which they are if it cannot.
func connectStream(o stream.Options, lose func(error)) (*nats.Conn, jetstream.JetStream, error) {
	nc, js, err := stream.Connect(o, lose)
	if err != nil {
		err = fmt.Errorf("connect to the stream's servers at %s (--stream-url, or --nats-url without one): %w", hosts(o.URL), err)
	}
	return nc, js, err
}

// hosts are the servers of a URL, without the users and passwords that may be in it.
func hosts(urls string) string {
	var names []string
	for server := range strings.SplitSeq(urls, ",") {
		server = strings.TrimSpace(server)
		if u, err := url.Parse(server); err == nil && u.Host != "" {
			server = u.Host
		}
		names = append(names, server[strings.LastIndex(server, "@")+1:])
	}
	return strings.Join(names, ",")
}

// inFlight is how many messages may be delivered without acknowledgement: once some were too large for that, so many as fit
// into memory if each is as large as the broker permits.
func inFlight(conn stan.Conn, large bool) int {
	if !large {
		return maxInFlight
	}
	return int(min(maxInFlight, max(16, maxInFlightBytes/max(1, conn.NatsConn().MaxPayload()))))
}

// place is where a message is in the channel: the origin of its copy, but for the channel's name.
type place struct {
	sequence uint64
	stamp    int64
}

func placeOf(o stream.Origin) place { return place{o.Sequence, o.Stamp} }

// peek returns the place of the message that a subscription starts with; errSilent when none came.
func peek(ctx context.Context, conn stan.Conn, channel string, start stan.SubscriptionOption) (place, error) {
	got := make(chan place, 1)
	sub, err := conn.Subscribe(channel, func(msg *stan.Msg) {
		select {
		case got <- place{msg.Sequence, msg.Timestamp}:
		default:
		}
	}, start, stan.SetManualAckMode(), stan.MaxInflight(1)) // without acknowledgement it is one alone
	if err != nil {
		return place{}, fmt.Errorf("ask STAN what it has: %w", err)
	}
	defer sub.Close() // an error means a dead session, which says so itself
	select {
	case p := <-got:
		return p, nil
	case <-ctx.Done():
		return place{}, ctx.Err()
	case <-time.After(peekWait):
		return place{}, errSilent
	}
}

// follows returns an error unless STAN itself has nothing between two messages that it delivered one after the other.
func follows(ctx context.Context, conn stan.Conn, channel string, last, next uint64) error {
	if next == last+1 {
		return nil
	}
	there, err := peek(ctx, conn, channel, stan.StartAtSequence(last+1))
	if err == nil && there.sequence != next {
		err = fmt.Errorf("STAN has %d", there.sequence)
	}
	if err != nil {
		return fmt.Errorf("message %d was delivered after %d: %w", next, last, err)
	}
	return nil
}

// deliver has messages delivered from a start on, in order, until ctx ends or take returns an error, which it returns. What
// take got is acknowledged by whom it was given to. lost is the session's. With large, fewer are on their way at a time;
// without, the error may be errLarge.
func deliver(ctx context.Context, conn stan.Conn, channel string, start stan.SubscriptionOption, large bool, lost <-chan error,
	take func(first *stan.Msg, more <-chan *stan.Msg) error) error {
	n := inFlight(conn, large)
	received := make(chan *stan.Msg, 2*n) // what is delivered again has room beside it
	tooMuch := make(chan struct{}, 1)
	// Of the callback: the last n messages, among which are all that are not acknowledged.
	sizes, at, bytes := make([]int, n), 0, 0
	sub, err := conn.Subscribe(channel, func(msg *stan.Msg) {
		bytes += len(msg.Data) - sizes[at]
		sizes[at], at = len(msg.Data), (at+1)%n
		if bytes > maxInFlightBytes && !large {
			select {
			case tooMuch <- struct{}{}:
			default: // it is known already
			}
			return
		}
		select {
		case received <- msg:
		default: // it comes again
		}
	}, start, stan.SetManualAckMode(), stan.AckWait(ackWait), stan.MaxInflight(n))
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", channel, err)
	}
	defer sub.Close()
	for {
		select {
		case msg := <-received:
			if err := take(msg, received); err != nil {
				return err
			}
		case <-tooMuch:
			return errLarge
		case err := <-lost:
			return fmt.Errorf("session lost: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
