package main

import (
	"context"
	"fmt"
	"time"
)

// replay: the whole log projected once more by `orderbox replay`, from its start to its end. Its limit is the projector
// on new messages with as much rubbish, in the same database and just before.
func (b *bench) replay(ctx context.Context) error {
	w, err := b.world(ctx, "large", b.sizes.many)
	if err != nil {
		return err
	}
	f := figure{Row: b.row, What: "full replay", Unit: "messages/s", Short: "replay", Limit: "projecting new messages", Goal: goal{Ratio: true, Least: 1}}
	for range min(b.rounds, replayRounds) {
		p, err := b.projected(ctx, w, rubbish)
		if err != nil {
			return err
		}
		if err := w.Rest(ctx); err != nil {
			return err
		}
		at, err := w.Balance(ctx)
		if err != nil {
			return err
		}
		started := time.Now()
		if err := w.Run(ctx, "replay"); err != nil {
			return err
		}
		perSecond := float64(at.Received) / time.Since(started).Seconds()
		f.Values, f.Limits = append(f.Values, perSecond), append(f.Limits, p.messages)
		f.What = fmt.Sprintf("full replay of %s", number(float64(at.Received), "messages"))
		b.say("%.0f messages/s; new ones %.0f/s", perSecond, p.messages)
	}
	b.figures = append(b.figures, f)
	return w.Run(ctx, "replay", "--drop-previous")
}

// replayRounds are few, for each takes minutes.
const replayRounds = 2
