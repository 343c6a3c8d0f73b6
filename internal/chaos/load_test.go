package chaos

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"orderbox/publisher"
)

const (
	publishers = 4
	// rubbish is the share of messages that are no plain new orders.
	rubbish = 0.2
	// maxBehind is how many messages the service may be behind before publishers wait for it.
	maxBehind = 20_000
	// ackWait is after how long publishers try again. A broker that lives answers in a fraction of it.
	ackWait = 5 * time.Second
	// stretch is how long the messages between two faults take at least.
	stretch = 3 * time.Second
)

// gate lets publishers take messages up to a limit.
type gate struct {
	mu    sync.Mutex
	moved *sync.Cond
	taken int64
	limit int64
	hold  bool // the service is too far behind
}

func newGate() *gate {
	g := &gate{}
	g.moved = sync.NewCond(&g.mu)
	return g
}

// take waits until one message more may be taken; false when ctx ends before.
func (g *gate) take(ctx context.Context) bool {
	return g.wait(ctx, func() bool {
		if g.hold || g.taken >= g.limit {
			return false
		}
		g.taken++
		return true
	})
}

// reach waits until n messages are taken; false when ctx ends before.
func (g *gate) reach(ctx context.Context, n int64) bool {
	return g.wait(ctx, func() bool { return g.taken >= n })
}

func (g *gate) wait(ctx context.Context, ok func() bool) bool {
	defer context.AfterFunc(ctx, func() { g.change(func() {}) })()
	g.mu.Lock()
	defer g.mu.Unlock()
	for ctx.Err() == nil {
		if ok() {
			g.moved.Broadcast()
			return true
		}
		g.moved.Wait()
	}
	return false
}

func (g *gate) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	g.moved.Broadcast()
}

func (g *gate) open(limit int64) { g.change(func() { g.limit = limit }) }

func (g *gate) setHold(hold bool) { g.change(func() { g.hold = hold }) }

// load is what the publishers share.
type load struct {
	to               publisher.Options // URL, and cluster or stream, and channel
	then             publisher.Options // where publishers move to, one after the other, if they move
	move             func(ctx context.Context) error
	seed             uint64
	messages, faults int
	ledger           *ledger
	gate             *gate
	log              *slog.Logger

	confirmed atomic.Int64
	again     atomic.Int64
}

// run publishes all messages and returns when the broker has confirmed every one.
func (l *load) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for n := range publishers {
		count := l.messages / publishers
		if n == 0 {
			count += l.messages % publishers
		}
		g.Go(func() error { return l.publish(ctx, n, count) })
	}
	return g.Wait()
}

// publish is one publisher. Its stream follows from the seed and its number, and so does where it moves.
func (l *load) publish(ctx context.Context, number, count int) error {
	if l.move == nil {
		return l.publishPart(ctx, l.to, number, count, 0, count)
	}
	moves := count * (number + 1) / (publishers + 1)
	if err := l.publishPart(ctx, l.to, number, count, 0, moves); err != nil {
		return err
	}
	if err := l.move(ctx); err != nil {
		return fmt.Errorf("publisher %d moves: %w", number, err)
	}
	return l.publishPart(ctx, l.then, number, count, moves, count)
}

// publishPart publishes from the message first up to before end, of count in all.
func (l *load) publishPart(ctx context.Context, to publisher.Options, number, count, first, end int) error {
	var sent []int32 // the payload of each message of the stream
	var mu sync.Mutex
	confirmed := int64(0)
	p, err := publisher.New(publisher.Options{
		URL: to.URL, Cluster: to.Cluster, Stream: to.Stream, Channel: to.Channel, ConnectWait: time.Minute, AckWait: ackWait,
		Rate: float64(count) / (float64(l.faults+1) * stretch.Seconds()),
		Progress: func(r publisher.Result) {
			l.confirmed.Add(r.Confirmed - confirmed)
			confirmed = r.Confirmed
		},
		Again: func(message int64) {
			mu.Lock()
			defer mu.Unlock()
			l.ledger.publishAgain(sent[message-1])
			l.again.Add(1)
		},
		Log: l.log.With("publisher", number),
	})
	if err != nil {
		return err
	}
	result, err := p.Publish(ctx, l.messagesOf(ctx, number, count, first, end, func(payload int32) {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, payload)
	}))
	if err == nil && result.Confirmed != int64(end-first) {
		err = fmt.Errorf("only %d of %d messages are confirmed", result.Confirmed, end-first)
	}
	if err != nil {
		return fmt.Errorf("publisher %d: %w", number, err)
	}
	return nil
}

// messagesOf enters each message into the ledger before it is published.
func (l *load) messagesOf(ctx context.Context, number, count, first, end int, entered func(payload int32)) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		n := 0
		for m := range publisher.Messages(l.seed*publishers+uint64(number), count, rubbish) {
			if n++; n <= first {
				continue
			}
			if n > end {
				return
			}
			if !l.gate.take(ctx) {
				return
			}
			entered(l.ledger.publish(m))
			if !yield(m.Payload, nil) {
				return
			}
		}
	}
}
