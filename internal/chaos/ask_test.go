package chaos

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"
)

// ask asks the broker for the number of the newest message that it has.
func (c *conductor) ask(ctx context.Context) (last int64, err error) {
	if c.load.to.Stream != "" {
		return c.askStream(ctx)
	}
	return c.askChannel(ctx)
}

func (c *conductor) askChannel(ctx context.Context) (int64, error) {
	c.from = origin{"stan", c.load.to.Channel}
	conn, err := stan.Connect(c.load.to.Cluster, "witness-"+rand.Text(), stan.NatsURL(c.load.to.URL), stan.ConnectWait(30*time.Second))
	if err != nil {
		return 0, fmt.Errorf("ask the broker for its last message: %w", err)
	}
	defer conn.Close()
	newest := make(chan int64, 1)
	_, err = conn.Subscribe(c.load.to.Channel, func(m *stan.Msg) {
		select {
		case newest <- int64(m.Sequence):
		default:
		}
	}, stan.StartWithLastReceived())
	if err != nil {
		return 0, fmt.Errorf("ask the broker for its last message: %w", err)
	}
	select {
	case last := <-newest:
		return last, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(patience):
		return 0, errors.New("the broker shows no message though it has confirmed some")
	}
}

func (c *conductor) askStream(ctx context.Context) (int64, error) {
	conn, err := nats.Connect(c.load.to.URL, nats.RetryOnFailedConnect(true))
	if err != nil {
		return 0, fmt.Errorf("ask JetStream for its last message: %w", err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return 0, fmt.Errorf("ask JetStream for its last message: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		stream, err := js.Stream(ctx, c.load.to.Stream)
		if err == nil {
			info := stream.CachedInfo()
			c.from = origin{"jetstream", c.load.to.Stream + "@" + info.Created.UTC().Format(time.RFC3339Nano)}
			return int64(info.State.LastSeq), nil
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("ask JetStream for its last message: %w", err)
		}
		wait(ctx, lookAgain)
	}
}
