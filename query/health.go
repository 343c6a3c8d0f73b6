package query

import (
	"context"
	"net/http"
	"sync"
	"time"
)

const (
	// checkTimeout is how long a check may take; whoever asks for readiness does not wait long.
	checkTimeout = 2 * time.Second
	// maxBehind is how long the cache may not have reached the end of the projection before this replica
	// says that it is not fit to serve. A busy one reaches it many times a second.
	maxBehind = 10 * time.Second
)

// health is one check's outcome.
type health struct {
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"` // what is wrong
}

// cacheHealth is the outcome of the check of the cache.
type cacheHealth struct {
	health
	CaughtUp bool   `json:"caught_up"` // has once read all there was
	Orders   int    `json:"orders"`
	LeftOut  int    `json:"left_out"` // because of the limit
	Position int64  `json:"position"`
	Lag      *int64 `json:"lag"` // in messages: projected and not yet read; null while the database does not say
}

// alive answers as long as the process can answer at all.
func (s *Server) alive(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	return sendJSON(w, http.StatusOK, typeJSON, health{OK: true})
}

// ready says whether this replica is fit to serve, and check by check why not.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) error {
	checks, cache := s.check(r.Context())
	fit := cache.OK
	outcomes := map[string]any{"cache": cache}
	for name, outcome := range checks {
		fit = fit && outcome.OK
		outcomes[name] = outcome
	}
	status := http.StatusOK
	if !fit {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	var roles map[string]string
	if s.o.Roles != nil {
		roles = s.o.Roles()
	}
	return sendJSON(w, status, typeJSON, struct {
		Ready  bool              `json:"ready"`
		Roles  map[string]string `json:"roles,omitempty"`
		Checks map[string]any    `json:"checks"`
	}{fit, roles, outcomes})
}

// check asks all checks at once, of which that of the cache says more.
func (s *Server) check(ctx context.Context) (checks map[string]health, cache cacheHealth) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var mu sync.Mutex
	checks = make(map[string]health, len(s.o.Checks)+1)
	report := func(name string, outcome health) {
		mu.Lock()
		defer mu.Unlock()
		checks[name] = outcome
	}
	var group sync.WaitGroup
	group.Go(func() {
		now, err := readProjected(ctx, s.pool)
		database := health{OK: err == nil}
		if err != nil {
			database.Detail = "the database does not answer" // the error itself names hosts and users
		}
		report("database", database)
		cache = s.follower.health(now)
	})
	for name, check := range s.o.Checks {
		group.Go(func() {
			h := health{OK: true}
			if err := check(ctx); err != nil {
				h = health{Detail: err.Error()}
			}
			report(name, h)
		})
	}
	group.Wait()
	return checks, cache
}

// health judges the cache against how far the projection is, which is nil when it is not known.
func (f *follower) health(now *projected) cacheHealth {
	unknown := ""
	if f.primary != nil {
		if now = f.primary.projected.Load(); now == nil {
			unknown = "the primary does not answer, so nobody knows how far the standby is behind"
		}
	}
	c := f.serving.Load()
	orders, _ := c.size()
	h := cacheHealth{CaughtUp: c.complete.Load(), Orders: orders, LeftOut: c.leftOut(), Position: c.position.Load()}
	if now != nil {
		lag := f.lag(now.checkpoint)
		h.Lag = &lag
	}
	at := f.fitAt.Load()
	switch {
	case f.primary != nil && f.primary.foreign.Load():
		h.Detail = errForeign.Error()
	case !h.CaughtUp:
		h.Detail = "the orders are still being read from the database"
	case at == nil:
		h.Detail = "the standby has not shown yet what the primary has projected"
	case time.Since(*at) > maxBehind:
		h.Detail = "the cache has not reached the end of the projection for a while"
	default:
		h.OK, h.Detail = true, unknown
	}
	return h
}

// lag is how many messages the cache that answers is behind a checkpoint. One that was just made may be
// ahead of it.
func (f *follower) lag(checkpoint int64) int64 {
	return max(0, checkpoint-f.serving.Load().position.Load())
}
