package main

import (
	"context"
	"iter"
	"math/rand/v2"
	"time"

	"gonum.org/v1/plot/plotter"

	"orderbox/internal/bench/world"
	"orderbox/publisher"
)

// rubbish is its share of the messages, where there is any.
const rubbish = 0.1

// stream is so many messages that no other stream has.
func stream(messages int, rubbish float64) iter.Seq[publisher.Message] {
	return publisher.Messages(rand.Uint64(), messages, rubbish)
}

// made is a stream in memory, so that making it takes no time while something is measured.
func made(messages iter.Seq[publisher.Message]) (payloads [][]byte, uids []string) {
	for m := range messages {
		payloads = append(payloads, m.Payload)
		if m.Verdict == publisher.VerdictOrder {
			uids = append(uids, m.OrderUID)
		}
	}
	return payloads, uids
}

func each(payloads [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, p := range payloads {
			if !yield(p, nil) {
				return
			}
		}
	}
}

// sampleEvery is how many seconds of filling a point of the plot stands for.
const sampleEvery = 3

// fill brings a world to so many orders at least, with a tenth of rubbish on the way, and projects what is pending.
func (b *bench) fill(ctx context.Context, w *world.World, orders int) error {
	at, err := w.Balance(ctx)
	if err != nil {
		return err
	}
	if missing := orders - int(at.Orders); missing > 0 {
		if _, err := w.Append(ctx, upTo(missing)); err != nil {
			return err
		}
	} else if !at.Pending() {
		return nil
	}
	said, before, last := time.Now(), at, at
	from, to, err := w.Project(ctx, func(at world.Balance) {
		if last.Position == before.Position {
			last = at // until the stage works
		}
		if took := at.At.Sub(last.At).Seconds(); took > sampleEvery {
			if w == b.worlds["large"] {
				b.filling = append(b.filling, plotter.XY{X: float64(at.Orders) / 1e6, Y: float64(at.Position-last.Position) / took})
			}
			last = at
		}
		if time.Since(said) > 5*time.Second {
			said = time.Now()
			b.say("%s to project, %s orders", number(float64(at.Received-at.Position), "messages"), number(float64(at.Orders), ""))
		}
	})
	if err != nil {
		return err
	}
	b.say("filled to %s; %.0f messages in %.1f s", number(float64(to.Orders), "orders"), float64(to.Position-from.Position), to.At.Sub(from.At).Seconds())
	return w.Settle(ctx)
}

// upTo is a stream that ends with so many orders.
func upTo(orders int) iter.Seq[publisher.Message] {
	return func(yield func(publisher.Message) bool) {
		for m := range stream(2*orders+1000, rubbish) {
			if m.Verdict == publisher.VerdictOrder {
				orders--
			}
			if !yield(m) || orders == 0 {
				return
			}
		}
	}
}
