package query

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"time"
)

// handler answers one route. What it returns before it has written anything becomes a problem.
type handler func(w http.ResponseWriter, r *http.Request) error

// adapt makes a route an http.Handler: it secures, calls, answers errors, and measures.
func (s *Server) adapt(rt route) http.Handler {
	observe := s.metrics.route(rt.path)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		a := &answer{ResponseWriter: w}
		secure(a.Header())
		err := s.refuseForeign(r)
		if err == nil {
			err = call(rt, a, r)
		}
		if err != nil {
			s.fail(a, r, rt.path, err)
		}
		observe(a.status, start)
	})
}

// refuseForeign keeps other sites from making a browser change something here with its cookie.
func (s *Server) refuseForeign(r *http.Request) error {
	if s.origins.Check(r) == nil {
		return nil
	}
	return newProblem(http.StatusForbidden, "cross-origin", "Another site sent this", "Nothing was changed.",
		"Do it from Orderbox's own pages, or from a program that sends no Origin.")
}

// call runs a route's handler, and makes an error of a panic.
func call(rt route, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		switch reason := recover(); reason {
		case nil:
		case http.ErrAbortHandler:
			panic(reason)
		default:
			err = fmt.Errorf("panic: %v\n%s", reason, debug.Stack())
		}
	}()
	if rt.method == "" || r.Method == rt.method || r.Method == http.MethodHead && rt.method == http.MethodGet {
		return rt.handle(w, r)
	}
	allow := rt.method
	if allow == http.MethodGet {
		allow = "GET, HEAD"
	}
	w.Header().Set("Allow", allow)
	return newProblem(http.StatusMethodNotAllowed, "method-not-allowed", "This method is not offered here",
		"The request used "+r.Method+".", "Use "+allow+".")
}

// policy is what a page may do: nothing but what it gets from here.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func secure(header http.Header) {
	header.Set("Content-Security-Policy", policy)
	header.Set("Referrer-Policy", "same-origin")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
}
