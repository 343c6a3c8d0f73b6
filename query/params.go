package query

import (
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	defaultLimit = 20
	maxLimit     = 100
	// maxPosition is before no message.
	maxPosition = math.MaxInt64
)

// params are the parameters of a request's query, each known and there once.
type params url.Values

// parseParams refuses what is none of allowed, so that a misspelt filter does not pass for no filter.
func parseParams(r *http.Request, allowed ...string) (params, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("The query of the address is not well encoded.", "Encode it as key=value&key=value, with percent signs for what is special.")
	}
	return checkParams(values, allowed)
}

// parseForm reads the fields of a form that was posted, of at most limit bytes as it is encoded, in the same
// way.
func parseForm(w http.ResponseWriter, r *http.Request, limit int64, allowed ...string) (params, error) {
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	if err := r.ParseForm(); err != nil {
		return nil, badRequest("The form cannot be read.", "It is too large, or not what this page sends.")
	}
	return checkParams(r.PostForm, allowed)
}

// checkParams returns a problem for what is none of allowed, given twice, or no text.
func checkParams(values url.Values, allowed []string) (params, error) {
	for name, given := range values {
		if !slices.Contains(allowed, name) {
			fix := "Use only these: " + strings.Join(allowed, ", ") + "."
			if len(allowed) == 0 {
				fix = "Leave it out: what is wanted here stands in the body."
			}
			return nil, badRequest("There is a parameter that is not known here.", fix)
		}
		if len(given) > 1 {
			return nil, badRequest("The parameter "+name+" is given more than once.", "Give it once.")
		}
		if !isText(given[0]) {
			return nil, badRequest("The parameter "+name+" holds characters that no text here can.", "Send it as UTF-8, without U+0000.")
		}
	}
	return params(values), nil
}

// isText says whether the database could hold a text.
func isText(text string) bool { return utf8.ValidString(text) && !strings.ContainsRune(text, 0) }

func (p params) text(name string) string { return url.Values(p).Get(name) }

// page returns how many to list, and the position before which the list goes on.
func (p params) page() (before int64, limit int, err error) {
	before, limit = maxPosition, defaultLimit
	if p["limit"] != nil {
		if limit, err = strconv.Atoi(p.text("limit")); err != nil || limit < 1 || limit > maxLimit {
			return 0, 0, badRequest("The parameter limit is not a number from 1 to 100.", "Leave it out for 20.")
		}
	}
	if p["after"] != nil {
		if before, err = parsePosition(p.text("after")); err != nil {
			return 0, 0, badRequest("The parameter after is no cursor.", "Take it from next of the page before, or leave it out to begin.")
		}
	}
	return before, limit, nil
}

// parsePosition reads a position of the log, spelt as we spell it.
func parsePosition(text string) (int64, error) {
	position, err := strconv.ParseInt(text, 10, 64)
	if err != nil || position < 1 || strconv.FormatInt(position, 10) != text {
		return 0, strconv.ErrSyntax
	}
	return position, nil
}

// cursor is what after takes to go on behind a position.
func cursor(position int64) *string {
	text := strconv.FormatInt(position, 10)
	return &text
}
