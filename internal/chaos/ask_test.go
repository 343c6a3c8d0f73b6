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

	"orderbox/publisher"
)

// ask asks the broker for the number of the newest message that it has.
func (c *conductor) ask(ctx context.Context) (last int64, err error) {
	if c.load.to.Stream != "" {
		store, err := askStream(ctx, c.load.to)
		c.from = store.origin
		return store.last, err
	}
	c.from = origin{"stan", c.load.to.Channel}
	return askChannel(ctx, c.load.to)
}

func askChannel(ctx context.Context, to publisher.Options) (last int64, err error) {
	conn, err := stan.Connect(to.Cluster, "witness-"+rand.Text(), stan.NatsURL(to.URL), stan.ConnectWait(30*time.Second))
	if err != nil {
		return 0, fmt.Errorf("ask the broker for its last message: %w", err)
	}
	defer conn.Close()
	newest := make(chan int64, 1)
	_, err = conn.Subscribe(to.Channel, func(m *stan.Msg) {
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

// askStream returns what the stream has, which is one store.
func askStream(ctx context.Context, to publisher.Options) (epoch, error) {
	conn, err := nats.Connect(to.URL, nats.RetryOnFailedConnect(true))
	if err != nil {
		return epoch{}, fmt.Errorf("ask JetStream for its last message: %w", err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return epoch{}, fmt.Errorf("ask JetStream for its last message: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		info, err := streamInfo(ctx, js, to.Stream)
		if err == nil {
			return epoch{origin: origin{"jetstream", to.Stream + "@" + info.Created.UTC().Format(time.RFC3339Nano)},
				last: int64(info.State.LastSeq), copies: int64(info.State.Subjects[to.Channel+".stan"])}, nil
		}
		if ctx.Err() != nil {
			return epoch{}, fmt.Errorf("ask JetStream for its last message: %w", err)
		}
		wait(ctx, lookAgain)
	}
}

// streamInfo is what a stream says of itself, and how many messages it has by subject.
func streamInfo(ctx context.Context, js jetstream.JetStream, name string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // a leader that is killed takes the question with it
	defer cancel()
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	return stream.Info(ctx, jetstream.WithSubjectFilter(">"))
}
