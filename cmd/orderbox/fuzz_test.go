package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"orderbox/inbox"
	"orderbox/internal/testservers"
	"orderbox/projector"
	"orderbox/query"
)

// Laws 2 and 3 with the database in the loop: every message keeps its bytes and gets one verdict, and what is
// accepted is served as it was sent, and would be accepted again as the same.
func FuzzStored(f *testing.F) {
	f.Add("a", "text", "2021-02-28T00:00:00Z", int64(1), "0", "")
	f.Add("a/b \u202e", "\u2028\ufeff\uffff\u0301", "0000-01-01T00:00:00+23:59", int64(-1<<63), "1.5e1", `"unknown":"\u0000"`)
	f.Add("..", "👩‍👩‍👧", "9999-12-31T23:59:59.999999999-23:59", int64(1<<63-1), "-0", `"ORDER_UID":5`)
	f.Add("%", `\.`, "2016-12-31t23:59:60.999999z", int64(0), "9223372036854775807", `"entry":"twice"`)
	f.Add("\x00", "\\N\t\r\n", "0001-01-01T00:00:00.0000000000000000000000000001Z", int64(5), "100", "")
	f.Add("x", "\xff", "1582-10-10T00:00:00Z", int64(5), "1e400", `]`)
	s := newStored(f)
	f.Fuzz(func(t *testing.T, uid, text, date string, number int64, spelt, more string) {
		order := mustOrder(t, "order_uid", uid, "entry", text, "locale", text, "track_number", text, "date_created", date, "sm_id", number,
			"payment.bank", text, "payment.transaction", uid, "payment.goods_total", json.RawMessage("4711008"), "delivery.city", text)
		order = bytes.Replace(order, []byte("4711008"), []byte(spelt), 1)
		if more != "" {
			order = append([]byte("{"+more+","), bytes.TrimSpace(order)[1:]...)
		}
		s.mustStore(t, order)
	})
}

// stored is a log, its projector and what answers, without a broker.
type stored struct {
	*flow
	box      *inbox.Inbox
	answers  http.Handler
	sequence int64
}

func newStored(f *testing.F) *stored {
	f.Helper()
	db := testservers.Database(f)
	pool := testservers.Open(f, db.ServiceURL, 12)
	s := &stored{flow: &flow{TB: f, db: db, pool: testservers.Open(f, db.ReaderURL, 2)}, box: inbox.New(pool, nil)}
	p, err := projector.New(pool, s.box, projector.Options{})
	if err != nil {
		f.Fatal(err)
	}
	q, err := query.New(pool, query.Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		f.Fatal(err)
	}
	s.answers = q.HTTPServer().Handler
	ctx, done := f.Context(), make(chan error, 2) // it ends before the cleanup
	go func() { done <- p.Run(ctx) }()
	go func() { done <- q.Run(ctx) }()
	f.Cleanup(func() {
		for range 2 {
			if err := <-done; err != nil {
				f.Error(err)
			}
		}
	})
	return s
}

// append puts a message into the log and returns what became of it.
func (s *stored) append(t *testing.T, payload []byte) fate {
	t.Helper()
	s.sequence++
	_, err := s.box.Append(t.Context(), []inbox.Message{{Source: inbox.SourceSTAN, Channel: "fuzz", Sequence: s.sequence, StampedAt: time.Unix(s.sequence, 0), Payload: payload}})
	if err != nil {
		t.Fatal(err)
	}
	f := *s.flow
	f.TB = t
	var all []fate
	testservers.Eventually(t, "the message is decided about", func() bool {
		all = f.fates("order by i.position desc limit 1")
		return len(all) == 1 && all[0].Fates > 0
	})
	if got := all[0]; got.Fates != 1 || !bytes.Equal(got.Payload, payload) || got.Reason == "refused" || got.Reason == "unjudged" {
		t.Fatalf("%q is kept as %q, %d fates, %s", payload, got.Payload, got.Fates, got.Verdict)
	}
	return all[0]
}

func (s *stored) mustStore(t *testing.T, payload []byte) {
	t.Helper()
	got := s.append(t, payload)
	if got.Verdict != "order" {
		return
	}
	served := s.served(t, got.UID)
	mustHold(t, payload, served)
	if again := s.append(t, served); again.Verdict != "duplicate" {
		t.Fatalf("what is served of %q, %q, is %s", payload, served, again.Verdict)
	}
}

// served waits for the cache to follow and returns an order as it is served.
func (s *stored) served(t *testing.T, uid string) []byte {
	t.Helper()
	var w *httptest.ResponseRecorder
	testservers.Eventually(t, "the order is served", func() bool {
		w = httptest.NewRecorder()
		s.answers.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/orders?order_uid="+strings.ReplaceAll(url.QueryEscape(uid), "+", "%20"), nil))
		return w.Code == http.StatusOK
	})
	return w.Body.Bytes()
}
