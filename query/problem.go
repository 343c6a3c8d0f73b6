package query

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// problem is an error that the client is told about (RFC 9457): what is wrong, and what to do about it.
// A handler returns one; any other error is answered as a 500 without detail.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Fix    string `json:"fix,omitempty"`
}

func (p problem) Error() string { return p.Title + ": " + p.Detail }

// statusClientGone counts the requests that nobody waited for; it is never sent.
const statusClientGone = 499

func newProblem(status int, kind, title, detail, fix string) problem {
	return problem{Type: "urn:orderbox:problem:" + kind, Title: title, Status: status, Detail: detail, Fix: fix}
}

func badRequest(detail, fix string) problem {
	return newProblem(http.StatusBadRequest, "bad-request", "The request is malformed", detail, fix)
}

func notFound(detail, fix string) problem {
	return newProblem(http.StatusNotFound, "not-found", "There is nothing here", detail, fix)
}

func unavailable(detail string) problem {
	return newProblem(http.StatusServiceUnavailable, "unavailable", "This cannot be answered right now", detail,
		"Try again in a few seconds.")
}

// asProblem decides what the client is told about an error.
func asProblem(err error) problem {
	if p, ok := errors.AsType[problem](err); ok {
		return p
	}
	switch {
	case errors.Is(err, errNoGeneration):
		return unavailable("Nothing has been projected yet.")
	case databaseAway(err):
		return unavailable("The database does not answer. Orders can be looked up meanwhile.")
	}
	return newProblem(http.StatusInternalServerError, "internal", "Something went wrong here", "",
		"Try again; if it stays so, the service's log says why.")
}

// databaseAway tells a database that is not there for now from a mistake of ours.
func databaseAway(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true // for whatever reason the server gives
	}
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch refused.Code[:min(2, len(refused.Code))] {
		case "08", "40", "53", "57", "58": // connection, taken back (by a standby that goes on, too), resources, shutdown or cancelled, disk
			return true
		}
		return refused.Code == "25006" // read-only, as a standby is that was the primary
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err)
}

// fail answers a request that a handler returned an error for. It is the only writer of errors.
func (s *Server) fail(a *answer, r *http.Request, route string, err error) {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		a.status = statusClientGone
		return
	}
	p := asProblem(err)
	if p.Status == http.StatusInternalServerError {
		s.log.Error("request failed", "route", route, "error", err)
	}
	if a.status != 0 {
		return // the answer has begun; all that is left is to end it
	}
	header := a.Header()
	header.Del("ETag")
	header.Set("Cache-Control", "no-store")
	switch p.Status {
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", "2")
	case http.StatusTooManyRequests:
		header.Set("Retry-After", strconv.Itoa(int(guessPause.Seconds())))
	}
	if isPage(r.URL.Path) {
		s.errorPage(a, r, p)
		return
	}
	sendJSON(a, p.Status, typeProblem, p)
}

// isPage says whether whoever asks for a path wants to see a page rather than to parse an answer.
func isPage(path string) bool {
	switch path {
	case "/healthz", "/readyz", "/metrics", "/openapi.yaml":
		return false
	}
	return !strings.HasPrefix(path, "/api/")
}
