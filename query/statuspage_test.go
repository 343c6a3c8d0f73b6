package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"orderbox/internal/testservers"
)

func TestStatusPageSaysHowTheServiceIs(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustProject(t, mustModel(t, "a"))
	var broken error
	s := newRunning(t, p, Options{
		Stats: func(context.Context) (Stats, error) {
			return Stats{Received: 12345, Orders: 12000, Pending: 345}, broken
		},
		Checks: map[string]func(context.Context) error{"broker": func(context.Context) error { return broken }},
	})
	page := mustShow(t, s, http.StatusOK, "/status")
	mustSay(t, page, "Everything is as it should be", "Received 12,345", "Pending 345", "brokerfine", "databasefine", "Generationg1", "orders: 1", "position 1", "Lag0 messages")

	broken = context.DeadlineExceeded
	page = mustShow(t, s, http.StatusOK, "/status")
	mustSay(t, page, "Not everything is as it should be", "brokercontext deadline exceeded")
	if strings.Contains(page, `id="silent" hidden`) {
		t.Error("nothing is known of the balance, and the page does not say so")
	}
	broken = errors.New("a mistake")
	mustShow(t, s, http.StatusInternalServerError, "/status")

	broken = nil
	mustAllowConnections(t, testservers.Open(t, p.AdminURL, 1).Config().ConnConfig, false)
	mustSay(t, mustShow(t, s, http.StatusOK, "/status"), "the database does not answer", "Lagnot known", "Generation—empty")
	mustAllowConnections(t, testservers.Open(t, p.AdminURL, 1).Config().ConnConfig, true)
}

func TestStatusPageSaysWhatALimitLeavesOut(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	const left = 7
	for i := range leastHeld + left {
		p.mustProject(t, mustModel(t, fmt.Sprint(i)))
	}
	s := newRunning(t, p, Options{CacheBytes: 1})
	mustSay(t, mustShow(t, s, http.StatusOK, "/status"), fmt.Sprintf("orders: %d", leastHeld), fmt.Sprintf("In the database aloneorders: %d", left))
}
