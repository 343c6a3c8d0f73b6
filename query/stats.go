package query

import (
	"context"
	"fmt"
	"net/http"
)

// Stats is the balance: what became of the messages received. Received is the sum of orders, duplicates,
// dead letters and pending; what is missing is not among it.
type Stats struct {
	Received    int64 `json:"received"`
	Orders      int64 `json:"orders"`
	Duplicates  int64 `json:"duplicates"`
	DeadLetters int64 `json:"dead_letters"`
	Pending     int64 `json:"pending"` // received and not yet decided
	Missing     int64 `json:"missing"` // numbered by the broker and never received
	Gaps        int64 `json:"gaps"`    // how many runs of those there are
}

// statsJSON answers with the balance.
func (s *Server) statsJSON(w http.ResponseWriter, r *http.Request) error {
	if s.o.Stats == nil {
		return notFound("This service does not keep the balance.", "Ask one that does, or run orderbox verify.")
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	stats, err := s.o.Stats(ctx)
	if err != nil {
		return fmt.Errorf("read the balance: %w", err)
	}
	w.Header().Set("Cache-Control", "no-store")
	return sendJSON(w, http.StatusOK, typeJSON, stats)
}
