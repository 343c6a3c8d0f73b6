package main

import (
	"context"
	"errors"

	"orderbox/inbox"
	"orderbox/internal/verify"
	"orderbox/projector"
	"orderbox/query"
	"orderbox/sql"
)

// pageExamples is how many of each change the page shows: as many as the command, unless that is told otherwise.
const pageExamples = 10

// replays lets operators order replays over HTTP, and try them, whether or not this process projects.
func (s *stages) replays(p *projector.Projector) *query.Replays {
	return &query.Replays{
		Order:        func(ctx context.Context) (string, error) { return refusable(p.Order(ctx, false, false)) },
		RollBack:     func(ctx context.Context) (string, error) { return refusable(p.RollBack(ctx)) },
		Cancel:       p.Cancel,
		DropPrevious: p.DropPrevious,
		Progress: func(ctx context.Context) (query.Replay, error) {
			now, err := p.Progress(ctx)
			return query.Replay{Generation: now.Generation, Position: now.Position, Head: now.Head, Status: now.Status,
				InService: now.InService, Previous: now.Previous}, err
		},
		Try:     s.try,
		Changed: func(ctx context.Context) (query.Change, error) { return s.changed(ctx, p) },
		Ramp: func(ctx context.Context, by string, r query.Ramp, wave func(query.Wave)) error {
			return ramp(ctx, p, by, r, wave)
		},
	}
}

// refusable tells the operator what is no fault of anything.
func refusable[T any](result T, err error) (T, error) {
	if errors.Is(err, projector.ErrDetached) {
		return result, query.Refusal{Reason: err.Error() + "; orderbox restore puts archived months back"}
	}
	for _, refusal := range []error{projector.ErrNoPrevious, projector.ErrOtherVersion, projector.ErrReplaying, projector.ErrRefusedAgain,
		projector.ErrNothingInService} {
		if errors.Is(err, refusal) {
			return result, query.Refusal{Reason: err.Error()}
		}
	}
	return result, err
}

// try is what query.Replays says of it. The run has a pool of its own, so that nobody waits for its connections.
func (s *stages) try(schema []byte) (func(context.Context, func(position, head int64)) (query.Change, error), error) {
	options := projector.Options{Schema: schema, Log: s.log}
	if schema == nil {
		options.Schema = s.schema
	}
	if _, err := projector.New(nil, nil, options); err != nil {
		return nil, query.Refusal{Reason: "This is no JSON Schema that could judge: " + err.Error()}
	}
	return func(ctx context.Context, progress func(position, head int64)) (query.Change, error) {
		pool, err := sql.Open(ctx, s.databaseURL, "orderbox dry run", tryConns)
		if err != nil {
			return query.Change{}, err
		}
		defer pool.Close()
		p, err := projector.New(pool, inbox.New(pool, s.log), options)
		if err != nil {
			return query.Change{}, err
		}
		diff, err := refusable(tryReplay(ctx, pool, p, verify.Show{Examples: pageExamples, Values: true}, progress))
		return newChange(diff), err
	}, nil
}

// changed compares what is in service with what was before.
func (s *stages) changed(ctx context.Context, p *projector.Projector) (query.Change, error) {
	now, err := p.Progress(ctx)
	if err != nil {
		return query.Change{}, err
	}
	if now.Generation != "" || now.Previous == "" {
		return query.Change{}, query.Refusal{Reason: "There is no previous generation to compare with."}
	}
	pool, err := sql.Open(ctx, s.databaseURL, "orderbox comparison", 1)
	if err != nil {
		return query.Change{}, err
	}
	defer pool.Close()
	diff, err := verify.Compare(ctx, pool, now.Previous, now.InService, now.PreviousAt, verify.Show{Examples: pageExamples, Values: true})
	if err != nil {
		// Another version's tables may have other columns.
		return query.Change{}, err
	}
	return newChange(diff), nil
}

// ramp retries dead letters in waves, or says what that would do.
func ramp(ctx context.Context, p *projector.Projector, by string, r query.Ramp, wave func(query.Wave)) error {
	selection := projector.Selection{Reason: r.Reason, Place: r.Place, Since: r.Since, Until: r.Until, Text: r.Text, From: r.From, To: r.To, IDs: r.IDs}
	if r.DryRun {
		o, err := p.Predict(ctx, selection)
		if err == nil {
			wave(query.Wave(o))
		}
		return err
	}
	_, err := refusable(p.Retry(ctx, by, r.Note, selection, r.MaxRefused, func(o projector.Outcome) { wave(query.Wave(o)) }))
	return err
}
