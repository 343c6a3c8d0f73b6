package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"time"

	"orderbox/internal/bench/world"
)

// source is what was found about one of the brokers.
type source struct {
	published, ingested samples
	stored              []float64 // bytes of the broker's files for a message
}

// measureSources publishes to each broker while nobody receives, and has the messages ingested when all are there: so it is known
// what either costs.
func (s *scale) measureSources(ctx context.Context) error {
	s.found.sources = map[string]*source{"stan": {}, "jetstream": {}}
	for range s.Rounds {
		if err := s.ingestFrom(ctx, "stan", s.Messages); err != nil {
			return err
		}
		if err := s.ingestFrom(ctx, "jetstream", s.Synced); err != nil {
			return err
		}
	}
	return nil
}

func (s *scale) ingestFrom(ctx context.Context, name string, messages int) error {
	found := s.found.sources[name]
	if err := s.world.Rest(ctx); err != nil {
		return err
	}
	stored, err := sizeOf(filepath.Join(s.dir, name))
	if err != nil {
		return err
	}
	before, err := s.meter.read(ctx)
	if err != nil {
		return err
	}
	if err := s.publish(ctx, name, messages, 0, 0); err != nil {
		return err
	}
	after, err := s.meter.read(ctx)
	if err != nil {
		return err
	}
	published := after.since(before, messages, runtime.NumCPU())
	holds, err := sizeOf(filepath.Join(s.dir, name))
	if err != nil {
		return err
	}
	ingested, err := s.ingest(ctx, name, messages)
	if err != nil {
		return err
	}
	found.published, found.ingested = append(found.published, published), append(found.ingested, ingested)
	found.stored = append(found.stored, (holds-stored)/float64(messages))
	s.say("%s: published %.0f messages/s, broker %.1f µs; ingested %.0f/s, broker %.1f µs, ingest %.1f µs, PostgreSQL %.1f µs each", name,
		samples{published}.rate(), samples{published}.of(theBroker), samples{ingested}.rate(), samples{ingested}.of(theBroker),
		samples{ingested}.of(theIngest), samples{ingested}.of(database+theIngest))
	return nil
}

// ingest receives what is at a broker. The sample is of what is behind the first batch, so the start of the process is none of it.
func (s *scale) ingest(ctx context.Context, name string, messages int) (_ sample, err error) {
	begin, err := s.world.Balance(ctx)
	if err != nil {
		return sample{}, err
	}
	stage, err := s.serve(ctx, s.world, theIngest, "--source", name)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, s.stop(stage)) }()
	received := func(least int64) (world.Balance, error) {
		return s.world.Await(ctx, 5*time.Millisecond, func(b world.Balance) bool { return b.Received >= begin.Received+least })
	}
	first, err := received(1)
	if err != nil {
		return sample{}, err
	}
	before, err := s.meter.read(ctx)
	if err != nil {
		return sample{}, err
	}
	last, err := received(int64(messages))
	if err != nil {
		return sample{}, err
	}
	after, err := s.meter.read(ctx)
	if err != nil {
		return sample{}, err
	}
	return after.since(before, int(last.Received-first.Received), runtime.NumCPU()), nil
}

// serve starts a stage whose time is counted as the engine's that it is.
func (s *scale) serve(ctx context.Context, w *world.World, stage string, flags ...string) (*world.Service, error) {
	started, err := w.Serve(ctx, stage, flags...)
	if err == nil {
		s.meter.running[started] = stage
	}
	return started, err
}

func (s *scale) stop(services ...*world.Service) (err error) {
	for _, service := range services {
		delete(s.meter.running, service)
		err = errors.Join(err, service.Stop())
	}
	return err
}

// sizeOf is the bytes of all files in a directory.
func sizeOf(dir string) (bytes float64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += float64(info.Size())
		}
		return err
	})
	return bytes, err
}
