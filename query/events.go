package query

import (
	"context"
	"net/http"
	"time"
)

const eventsPath = "/api/v1/events"

const (
	// eventTimeout is how long a subscriber may take to accept what is sent before it is dropped. A browser comes
	// again by itself.
	eventTimeout = 5 * time.Second
	// heartbeat is how often something is sent when there is nothing to say, so that neither side nor anything
	// between takes the other for gone.
	heartbeat = 15 * time.Second
)

// events answers with server-sent events until the client or this server leaves: the latest orders as they become
// visible, and the balance with its rates.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	if !s.feed.join() {
		return unavailable("Too many follow the events already.")
	}
	defer s.feed.leave()
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // a proxy that collects answers would keep them for ever
	stream := stream{w, http.NewResponseController(w)}
	if err := stream.begin(); err != nil || r.Method == http.MethodHead {
		return nil // gone, or a connection without deadlines: whoever could not be dropped is told nothing
	}
	s.sendEvents(r.Context(), stream)
	return nil
}

func (s *Server) sendEvents(ctx context.Context, stream stream) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	var seen [feedKinds]uint64
	for {
		events, changed := s.feed.news(&seen)
		if len(events) > 0 {
			if err := stream.send(events...); err != nil {
				return // gone, or too slow
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.feed.stopped:
			return
		case <-changed:
		case <-beat.C:
			if err := stream.send([]byte(": nothing new\n\n")); err != nil {
				return
			}
		}
	}
}

// stream is an answer that goes on.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// begin lifts the server's limit on the time that a request may take. From then on each part has its own.
func (s stream) begin() error {
	s.w.WriteHeader(http.StatusOK)
	if err := s.control.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	return s.send([]byte("retry: 2000\n\n"))
}

func (s stream) send(parts ...[]byte) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(eventTimeout)); err != nil {
		return err
	}
	for _, part := range parts {
		if _, err := s.w.Write(part); err != nil {
			return err
		}
	}
	return s.control.Flush()
}
