package query

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Operator takes decisions about dead letters, each in the name of an operator and with a note. It is told
// positions of messages in the log, 1000 at most, that were dead letters of their own a moment ago.
//
// Package inbox has it. This is an interface because data flows from the log to here, and a decision
// flows back.
type Operator interface {
	// Retry enters messages into the log once more and returns where, in their order.
	Retry(ctx context.Context, by, note string, positions []int64) (entries []int64, err error)
	// Amend enters what messages should have been, each of at most 1 MiB, and returns where, in their order.
	Amend(ctx context.Context, by, note string, positions []int64, payloads [][]byte) (entries []int64, err error)
	// Discard says that messages need nobody's attention any more; the note is not empty.
	Discard(ctx context.Context, by, note string, positions []int64) error
	// Reopen takes discards back.
	Reopen(ctx context.Context, by, note string, positions []int64) error
}

// operator lets through who knows an operator's token or has logged in with one. What is behind shows
// messages as they came, so no cache may keep it.
func (s *Server) operator(handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if _, err := s.authenticate(w, r); err != nil {
			return err
		}
		return handle(w, r)
	}
}

// deciding is operator for decisions, which are taken in somebody's name and not offered everywhere.
func (s *Server) deciding(handle func(w http.ResponseWriter, r *http.Request, by string) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		by, err := s.authenticate(w, r)
		if err != nil {
			return err
		}
		if s.o.Operator == nil {
			return notFound("This service takes no decisions: it only reads.", "Ask one that runs as the role orderbox.")
		}
		return handle(w, r, by)
	}
}

// authenticate returns the name of the operator who asks.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) (name string, err error) {
	w.Header().Set("Cache-Control", "no-store")
	if err := s.offersOperator(); err != nil {
		return "", err
	}
	if name, err = s.identify(r); err != nil {
		return "", err
	}
	if name == "" {
		return "", unauthorized(w, "Send a token as: Authorization: Bearer <token>, or log in with one.")
	}
	return name, nil
}

// asker returns the name of the operator who asks, or nothing.
func (s *Server) asker(r *http.Request) string {
	name, _ := s.identify(r)
	return name
}

// identify is asker for who must be told why he was not even looked at. A cookie cannot be guessed, so it may
// be tried as often as one likes, and who is logged in is not held up by others.
func (s *Server) identify(r *http.Request) (name string, err error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return s.whose(r, secret)
	}
	if c, err := r.Cookie(cookieName); err == nil {
		return s.keys.cookie(c.Value, time.Now()), nil
	}
	return "", nil
}

// whose returns the name of the operator whose secret was sent, or nothing.
func (s *Server) whose(r *http.Request, secret string) (name string, err error) {
	err = s.guesses.try(r.RemoteAddr, time.Now(), func() bool {
		name = s.keys.bearer(secret)
		return name != ""
	})
	return name, err
}

func (s *Server) offersOperator() error {
	if len(s.keys) > 0 {
		return nil
	}
	return newProblem(http.StatusForbidden, "operator-off", "The operator's paths are off",
		"This service runs without an operator token.",
		"Set ORDERBOX_OPERATOR_TOKEN (or --operator-token) for the service and start it again.")
}

func unauthorized(w http.ResponseWriter, fix string) problem {
	w.Header().Set("WWW-Authenticate", `Bearer realm="orderbox operator"`)
	return newProblem(http.StatusUnauthorized, "unauthorized", "This is for the operator",
		"The operator token is missing or not the right one.", fix)
}
