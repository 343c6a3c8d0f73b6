package query

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gorilla/mux"
)

// maxUIDLength is the built-in schema's bound, in characters.
const maxUIDLength = 64

// cache is the one that answers right now. A request that asks twice takes it once, or a replay's end
// may come in between.
func (s *Server) cache() *cache { return s.follower.serving.Load() }

// lookupPath is the route of a lookup, lookupPrefix what its paths begin with.
const (
	lookupPath   = lookupPrefix + "{order_uid}"
	lookupPrefix = "/api/v1/orders/"
)

// lookedUp returns the order_uid in a lookup's path, still encoded, and whether the path is a lookup's. It says what the
// router would, which matches by regular expressions and copies the request: that takes as long as all the rest.
func lookedUp(r *http.Request) (encoded string, ok bool) {
	encoded, ok = strings.CutPrefix(r.URL.EscapedPath(), lookupPrefix)
	return encoded, ok && encoded != "" && !strings.Contains(encoded, "/")
}

// uidOf returns the order_uid in a request's path.
func uidOf(r *http.Request) (string, error) { return decodeUID(mux.Vars(r)["order_uid"]) }

// decodeUID decodes an order_uid in a path. Paths are matched as they were sent, so that an id may hold a slash.
func decodeUID(encoded string) (string, error) {
	uid, err := url.PathUnescape(encoded)
	if err != nil {
		return "", badRequest("The order_uid in the address is not well encoded.", "Encode what is special with percent signs.")
	}
	return uid, nil
}

// lookup returns the order with that uid, or the problem that says why there is none: it cannot be one's
// (400), it is not there (404), or that is not known right now (503). Only who knows all orders says that one is not there: a
// cache that has read them and left none out, or else the database. An order that was fetched from there has a place, which
// fetcher.sent gives back.
func (s *Server) lookup(ctx context.Context, uid string) (e entry, fetched bool, err error) {
	switch {
	case uid == "":
		return entry{}, false, badRequest("The order_uid is empty.", "Give the id that the order came with.")
	case !isText(uid):
		return entry{}, false, badRequest("The order_uid holds characters that no order_uid can.", "Send it as UTF-8, without U+0000.")
	}
	c := s.cache()
	complete := c.complete.Load() // asked first: what is missing afterwards was not there when it was complete
	e, ok := c.get(uid)
	if !ok && !(complete && c.holdsAll()) {
		if e, ok, err = s.fetcher.order(ctx, c, uid); err != nil {
			return entry{}, false, notFetched(err)
		}
		fetched = ok
	}
	switch {
	case ok: // be it longer than that: another schema may have let it through
		return e, fetched, nil
	case utf8.RuneCountInString(uid) > maxUIDLength:
		return entry{}, false, badRequest("The order_uid is longer than 64 characters.", "Check it: no order_uid is that long.")
	}
	return entry{}, false, notFound("No order has this order_uid.", "Check the id. An order that was sent just now may take a moment; one that was refused is among the dead letters.")
}

// lookupForPage is lookup for who makes something of the order that has bounds of its own.
func (s *Server) lookupForPage(ctx context.Context, uid string) (entry, error) {
	e, fetched, err := s.lookup(ctx, uid)
	if fetched {
		s.fetcher.sent(1)
	}
	return e, err
}

// orderJSON answers with an order as the reference model writes it.
func (s *Server) orderJSON(w http.ResponseWriter, r *http.Request) error {
	encoded, _ := lookedUp(r)
	uid, err := decodeUID(encoded)
	if err != nil {
		return err
	}
	return s.answerOrder(w, r, uid)
}

func (s *Server) answerOrder(w http.ResponseWriter, r *http.Request, uid string) error {
	e, fetched, err := s.lookup(r.Context(), uid)
	if err != nil {
		return err
	}
	if fetched {
		defer s.fetcher.sent(1)
	}
	if notModified(w, r, e.etag) {
		return nil
	}
	return send(w, http.StatusOK, typeJSON, e.body)
}

// ordersJSON answers with the latest orders, newest first; or, when asked for an order_uid, as orderJSON does:
// some clients and proxies change a path with dots or slashes in it, and none changes a parameter.
func (s *Server) ordersJSON(w http.ResponseWriter, r *http.Request) error {
	p, err := parseParams(r, "limit", "after", "order_uid")
	if err != nil {
		return err
	}
	if p["order_uid"] != nil {
		if len(p) > 1 {
			return badRequest("An order_uid is of one order, and limit and after of a list.", "Leave one or the other out.")
		}
		return s.answerOrder(w, r, p.text("order_uid"))
	}
	before, limit, err := p.page()
	if err != nil {
		return err
	}
	entries, fetched, err := s.latest(r.Context(), before, limit+1) // one more than asked for tells whether there is a next page
	if err != nil {
		return err
	}
	if fetched {
		defer s.fetcher.sent(fetchedList)
	}
	more := len(entries) > limit
	entries = entries[:min(limit, len(entries))]

	// Those in memory are sent from there: a hundred large ones for each of many slow clients would not fit.
	parts := [][]byte{[]byte(`{"orders":[`)}
	for i, e := range entries {
		if i > 0 {
			parts = append(parts, []byte{','})
		}
		parts = append(parts, e.body)
	}
	next := "null"
	if more {
		next = strconv.Quote(strconv.FormatInt(entries[limit-1].position, 10))
	}
	parts = append(parts, []byte(`],"next":`+next+"}\n"))

	w.Header().Set("Cache-Control", "no-cache")
	return send(w, http.StatusOK, typeJSON, parts...)
}

// latest returns at most limit orders whose position is below before, newest first: all from memory, or all fetched from the
// database, for then they are of one generation. What was fetched has places, which fetcher.sent gives back.
func (s *Server) latest(ctx context.Context, before int64, limit int) (entries []entry, fetched bool, err error) {
	c := s.cache()
	if c.complete.Load() { // until then the latest in memory are not the latest there are
		if entries = c.latest(before, limit); len(entries) == limit || c.holdsAll() {
			return entries, false, nil
		}
	}
	if entries, err = s.fetcher.latest(ctx, before, limit); err != nil {
		return nil, false, notFetched(err)
	}
	return entries, true, nil
}
