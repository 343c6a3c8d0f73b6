package world

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/stan.go"
)

// deliverInFlight is as much as ingest lets the broker send ahead.
const deliverInFlight = 4096

// Deliver receives the last so many messages of the log from the broker and acknowledges each, in this process and
// without doing anything else with them, and returns how long that took from the first message to the last.
func (w *World) Deliver(ctx context.Context, messages int) (time.Duration, error) {
	conn, err := stan.Connect(cluster, "bench-deliver", stan.NatsURL(w.stan.URL()))
	if err != nil {
		return 0, fmt.Errorf("connect to receive: %w", err)
	}
	defer conn.Close()
	var last uint64
	if err := w.Conn.QueryRow(ctx, `select max(sequence) from inbox where source = 'stan'`).Scan(&last); err != nil {
		return 0, fmt.Errorf("ask for the last message: %w", err)
	}
	var received atomic.Int64
	var first, end time.Time
	done := make(chan struct{})
	_, err = conn.Subscribe(channel, func(msg *stan.Msg) {
		n := received.Add(1)
		if n == 1 {
			first = time.Now()
		}
		_ = msg.Ack() // one that fails shows in the messages that do not come
		if n == int64(messages) {
			end = time.Now()
			close(done)
		}
	}, stan.StartAtSequence(last-uint64(messages)+1), stan.SetManualAckMode(), stan.MaxInflight(deliverInFlight))
	if err != nil {
		return 0, fmt.Errorf("subscribe to receive: %w", err)
	}
	select {
	case <-done:
		return end.Sub(first), nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-time.After(stopWait):
		return 0, fmt.Errorf("the broker delivered %d of %d messages in %s", received.Load(), messages, stopWait)
	}
}
