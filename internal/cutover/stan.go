package cutover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"

	"orderbox/internal/stream"
)

const (
	// ackWait is after how long the broker delivers again what was not acknowledged.
	ackWait = 30 * time.Second
	// maxInFlight and maxInFlightBytes bound what was delivered and is not acknowledged.
	maxInFlight      = 4 * maxBatch
	maxInFlightBytes = 256 << 20
)

// errLarge says that so many messages do not fit into memory.
var errLarge = errors.New("messages are large: fewer are asked for at a time")

// STAN says where the channel is.
type STAN struct {
	stream.STAN
	Channel string
}

// connect builds a session; lose is called once it is lost.
func (o STAN) connect(lose func(error)) (stan.Conn, error) {
	conn, err := o.Connect(lose)
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

func hosts(urls string) string { return strings.Join(stream.Hosts(urls), ",") }

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

// peek returns the place of the message that a subscription starts with; stream.ErrSilent when none came.
func peek(ctx context.Context, conn stan.Conn, channel string, start stan.SubscriptionOption) (place, error) {
	origin, err := stream.Peek(ctx, conn, channel, start)
	return placeOf(origin), err
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
