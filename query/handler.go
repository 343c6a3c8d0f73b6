package query

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
)

// handler answers one route. What it returns before it has written anything becomes a problem.
type handler func(w http.ResponseWriter, r *http.Request) error

// adapt makes the routes of one path an http.Handler: it secures, calls, answers errors, and measures.
func (s *Server) adapt(routes ...route) http.Handler {
	path := routes[0].path
	observe := s.metrics.route(path)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		a := &answer{ResponseWriter: w}
		secure(a.Header(), r.TLS != nil)
		err := s.refuseForeign(r)
		if err == nil {
			err = call(routes, a, r)
		}
		if err != nil {
			s.fail(a, r, path, err)
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

// call runs the handler of the route with the request's method, and makes an error of a panic.
func call(routes []route, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		switch reason := recover(); reason {
		case nil:
		case http.ErrAbortHandler:
			panic(reason)
		default:
			err = fmt.Errorf("panic: %v\n%s", reason, debug.Stack())
		}
	}()
	var methods []string
	for _, rt := range routes {
		if rt.method == "" || r.Method == rt.method || r.Method == http.MethodHead && rt.method == http.MethodGet {
			return rt.handle(w, r)
		}
		if methods = append(methods, rt.method); rt.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
	}
	allow := strings.Join(methods, ", ")
	w.Header().Set("Allow", allow)
	return newProblem(http.StatusMethodNotAllowed, "method-not-allowed", "This method is not offered here",
		"The request used "+r.Method+".", "Use "+allow+".")
}

// security is what every answer's header says. Answers share the values: whoever has another one sets it, and modifies none.
var security = []struct {
	name   string
	values []string
}{
	// What a page may do: nothing but what it gets from here.
	{"Content-Security-Policy", []string{"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"}},
	{"Referrer-Policy", []string{"same-origin"}},
	{"X-Content-Type-Options", []string{"nosniff"}},
	{"X-Frame-Options", []string{"DENY"}},
}

// strictTransport has a browser that came over TLS never come without it again.
const strictTransport = "max-age=31536000"

func secure(header http.Header, overTLS bool) {
	for _, s := range security {
		header[s.name] = s.values
	}
	if overTLS {
		header.Set("Strict-Transport-Security", strictTransport)
	}
}
