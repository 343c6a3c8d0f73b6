package query

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json"
	typeHTML    = "text/html; charset=utf-8"
)

// answer remembers which status was sent.
type answer struct {
	http.ResponseWriter
	status int // 0 until the header is written
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController through.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// send answers with a body, whole, of which the parts may be shared. What else the header says is set before.
//
// It spells the header's names as Header.Set would, which takes longer to find out than an order to find.
func send(w http.ResponseWriter, status int, contentType string, parts ...[]byte) error {
	length := 0
	for _, part := range parts {
		length += len(part)
	}
	header := w.Header()
	header["Content-Type"] = []string{contentType}
	header["Content-Length"] = []string{strconv.Itoa(length)}
	w.WriteHeader(status)
	for _, part := range parts {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// sendJSON answers with v.
func sendJSON(w http.ResponseWriter, status int, contentType string, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	return send(w, status, contentType, b.Bytes())
}

// noCache is shared by answers, which do not modify it.
var noCache = []string{"no-cache"}

// notModified tags the answer and says whether the client has it already, who is then told so. A client may
// keep what is tagged and asks each time whether it is still so.
func notModified(w http.ResponseWriter, r *http.Request, etag string) bool {
	header := w.Header()
	header["Etag"] = []string{etag}
	header["Cache-Control"] = noCache
	if !hasTag(r.Header["If-None-Match"], etag) {
		return false
	}
	w.WriteHeader(http.StatusNotModified)
	return true
}

// hasTag says whether the lists of entity tags hold one. A weak one counts (RFC 9110, 13.1.2).
func hasTag(lists []string, etag string) bool {
	for _, list := range lists {
		for tag := range strings.SplitSeq(list, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == etag || tag == "*" {
				return true
			}
		}
	}
	return false
}
