package ingest

import (
	"context"
	"fmt"
	"time"

	"orderbox/internal/stream"
)

// Held is what a broker has of a channel: every message from the first to the last, unless some were deleted.
type Held struct {
	Source, Channel string // as the log names them
	First, Last     int64  // sequences; zero when it has none
	// Since is the stamp of the first. What was stamped before is of a store that it had before; zero where no store can be
	// mistaken for another.
	Since time.Time
}

// Ask asks the broker what it has. It takes nothing from anybody who receives, and makes nothing: the client id must be none
// that is in use, and a stream that is not there is an error.
func Ask(ctx context.Context, o Options) (Held, error) {
	g, err := New(nil, o)
	if err != nil {
		return Held{}, err
	}
	s, channel, err := g.look(ctx)
	if err != nil {
		return Held{}, err
	}
	first, last, err := s.extent(ctx)
	if closing := s.close(); err == nil {
		err = closing
	}
	if err != nil {
		return Held{}, err
	}
	held := Held{Source: g.source, Channel: channel, First: int64(first.sequence), Last: int64(last.sequence)}
	if first.stamp > 0 {
		held.Since = time.Unix(0, first.stamp).UTC()
	}
	return held, nil
}

// look opens a session without the durable subscription.
func (g *Ingester) look(ctx context.Context) (s session, channel string, err error) {
	if g.o.Stream == "" {
		conn, err := g.o.stan().Connect(func(error) {})
		if err != nil {
			return nil, "", fmt.Errorf("connect to cluster %s: %w", g.o.Cluster, err)
		}
		return &stanSession{conn: conn, channel: g.o.Channel, g: g}, g.o.Channel, nil
	}
	conn, js, err := stream.Connect(g.o.stream(), func(error) {})
	if err != nil {
		return nil, "", err
	}
	found, err := js.Stream(ctx, g.o.Stream)
	if err != nil {
		conn.Close()
		return nil, "", fmt.Errorf("look for the stream %s: %w", g.o.Stream, err)
	}
	channel = stream.Channel(g.o.Stream, found.CachedInfo().Created)
	return &streamSession{conn: conn, stream: found, channel: channel, g: g}, channel, nil
}
