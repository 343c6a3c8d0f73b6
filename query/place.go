package query

import (
	"context"
	"time"
)

const (
	// maxPages bounds the pages and payloads that are made and sent at a time: a large one takes megabytes, and a slow
	// client takes its time.
	maxPages = 32
	// pageWait is how long a request waits for its turn. Pages that a socket takes at once are made in
	// milliseconds, so only many slow clients of large ones keep anybody waiting.
	pageWait = 3 * time.Second
)

// takePlace waits until a page may be made; done is to be called when it has been sent.
func (s *Server) takePlace(ctx context.Context) (done func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, pageWait)
	defer cancel()
	if err := s.pages.Acquire(ctx, 1); err != nil {
		return nil, unavailable("Too many large pages are being sent right now.")
	}
	return func() { s.pages.Release(1) }, nil
}
