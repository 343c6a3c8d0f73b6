package main

import (
	"context"
	"errors"

	"orderbox/projector"
	"orderbox/query"
)

// replays lets operators order replays over HTTP, whether or not this process projects.
func (s *stages) replays(p *projector.Projector) *query.Replays {
	return &query.Replays{
		Order:        func(ctx context.Context) (string, error) { return refusable(p.Order(ctx, false)) },
		RollBack:     func(ctx context.Context) (string, error) { return refusable(p.RollBack(ctx)) },
		Cancel:       p.Cancel,
		DropPrevious: p.DropPrevious,
		Progress: func(ctx context.Context) (query.Replay, error) {
			now, err := p.Progress(ctx)
			return query.Replay{Generation: now.Generation, Position: now.Position, Head: now.Head, Status: now.Status,
				InService: now.InService, Previous: now.Previous}, err
		},
	}
}

// refusable tells the operator what is no fault of anything.
func refusable(generation string, err error) (string, error) {
	for _, refusal := range []error{projector.ErrNoPrevious, projector.ErrOtherVersion, projector.ErrReplaying} {
		if errors.Is(err, refusal) {
			return "", query.Refusal{Reason: refusal.Error()}
		}
	}
	return generation, err
}
