package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"orderbox/internal/bench/world"
)

// replay: the whole log projected once more by `orderbox replay`, from its start until what it made is in service. Its limit is the projector
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
		took, err := replayed(ctx, w)
		if err != nil {
			return err
		}
		perSecond := float64(at.Received) / took.Seconds()
		f.Values, f.Limits = append(f.Values, perSecond), append(f.Limits, p.messages)
		f.What = fmt.Sprintf("full replay of %s", number(float64(at.Received), "messages"))
		b.say("%.0f messages/s; new ones %.0f/s", perSecond, p.messages)
	}
	b.figures = append(b.figures, f)
	return w.Run(ctx, "replay", "--drop-previous")
}

// replayRounds are few, for each takes minutes.
const replayRounds = 2

// replayed replays, and returns how long it took until the new generation was in service: the command goes on to compare it
// with the one before.
func replayed(ctx context.Context, w *world.World) (took time.Duration, err error) {
	before, err := w.Generation(ctx)
	if err != nil {
		return 0, err
	}
	started := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, "replay") }()
	for now := before; now == before; {
		select {
		case err := <-ended:
			return 0, errors.Join(errors.New("the replay ended and the generation is the same"), err)
		case <-time.After(20 * time.Millisecond):
		}
		if now, err = w.Generation(ctx); err != nil {
			return 0, errors.Join(err, <-ended)
		}
	}
	took = time.Since(started)
	return took, <-ended
}
