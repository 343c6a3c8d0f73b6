package query

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"orderbox/inbox"
	"orderbox/internal/testservers"
)

// newDeciding returns a stage that takes decisions, in the names of ann and bob.
func newDeciding(tb testing.TB, p *projection) *Server {
	tb.Helper()
	return newServer(tb, p, Options{Tokens: []Token{{"ann", "right"}, {"bob", "bob's"}},
		Operator: inbox.New(testservers.Open(tb, p.ServiceURL, 2), nil)})
}

// decide posts a decision about a dead letter as ann.
func decide(tb testing.TB, s *Server, id int64, kind, text string) *http.Response {
	tb.Helper()
	return post(tb, s, fmt.Sprintf("/api/v1/dead-letters/%d/%s", id, kind), text,
		"Authorization", "Bearer right", "Content-Type", "application/octet-stream")
}

type accepted struct {
	Decision string
	Entry    int64
}

func mustStory(tb testing.TB, s *Server, id int64) deadLetterStory {
	tb.Helper()
	return mustDecode[deadLetterStory](tb, http.StatusOK, get(tb, s, fmt.Sprint("/api/v1/dead-letters/", id), "Authorization", "Bearer right"))
}

// mustApply does what a projector does with decisions up to now: discards and reopenings are applied, and
// retries and amendments become what the statements say, for which $1 is the entry and $2 its original.
func (p *projection) mustApply(tb testing.TB, fate ...string) {
	tb.Helper()
	p.mustTx(tb, p.generation, func(tx pgx.Tx) error {
		var entry, original int64
		err := tx.QueryRow(tb.Context(), `select coalesce(max(position), 0), coalesce(max(original), 0) from inbox where original is not null`).Scan(&entry, &original)
		for _, statement := range fate {
			if err == nil {
				_, err = tx.Exec(tb.Context(), statement, entry, original)
			}
		}
		if err == nil {
			_, err = tx.Exec(tb.Context(), `update dead_letters as d set discarded = h.kind = 'discard' from (
				select distinct on (position) position, kind from decisions where entry is null order by position, id desc) as h
				where h.position = d.position`)
		}
		if err == nil {
			_, err = tx.Exec(tb.Context(), `update checkpoint set position = (select max(position) from inbox), decision = (select coalesce(max(id), 0) from decisions)`)
		}
		return err
	})
}

const (
	refused  = `insert into dead_letters (position, reason, sentence, violations, schema_version, original, received_at) select $1, reason, 'Still wrong.', '[{"pointer": "/a", "keyword": "k", "message": "m"}]', 'v2', $2::bigint, now() from dead_letters where position = $2`
	ordered  = `insert into orders (position, order_uid, digest, track_number, entry, locale, internal_signature, customer_id, delivery_service, shardkey, sm_id, date_created, date_created_text, oof_shard) select $1, 'made', '', '', '', '', '', '', '', '', $2::bigint, now(), '', ''`
	resolved = `update dead_letters set resolved = $1 where position = $2`
)

func TestADecisionIsToldFromItsBeginningToItsEnd(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	id := p.mustRefuse(t, []byte("bad"), "syntax", "[]", nil)
	s := newDeciding(t, p)

	retry := mustDecode[accepted](t, http.StatusAccepted, decide(t, s, id, "retry", ""))
	if story := mustStory(t, s, id); retry.Decision != "retry" || retry.Entry <= id || len(story.History) != 1 || story.History[0].Outcome != "pending" {
		t.Errorf("at first: %+v, %+v", retry, story.History)
	}
	p.mustApply(t, refused)
	body(t, http.StatusAccepted, decide(t, s, id, "discard", `{"note": "spam"}`))
	p.mustApply(t)
	if story := mustStory(t, s, id); story.State != "discarded" || story.Resolved != nil {
		t.Errorf("discarded: %+v", story)
	}
	body(t, http.StatusAccepted, decide(t, s, id, "reopen", `{"note": "no, it is not"}`))
	p.mustApply(t)
	amendment := mustDecode[accepted](t, http.StatusAccepted, decide(t, s, id, "amend?note=a+comma", "good\x00"))
	p.mustApply(t, ordered, resolved)

	story := mustStory(t, s, id)
	if story.State != "resolved" || story.Resolved == nil || *story.Resolved != amendment.Entry || story.OrderUID == nil || *story.OrderUID != "made" {
		t.Errorf("resolved: %+v", story)
	}
	var got []string
	for _, d := range story.History {
		line := fmt.Sprintf("%s %s %q %s", d.By, d.Kind, d.Note, d.Outcome)
		if d.Sentence != nil {
			line += fmt.Sprintf(" %s %v", *d.Sentence, d.Violations)
		}
		if d.OrderUID != nil {
			line += " " + *d.OrderUID
		}
		got = append(got, line)
	}
	want := strings.Join([]string{`ann retry "" dead_letter Still wrong. [{/a k m}]`, `ann discard "spam" applied`,
		`ann reopen "no, it is not" applied`, `ann amend "a comma" order made`}, "\n")
	if strings.Join(got, "\n") != want {
		t.Errorf("history\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}

	path := fmt.Sprintf("/api/v1/dead-letters/%d/payload", id)
	for entry, want := range map[int64]string{amendment.Entry: "good\x00", retry.Entry: "bad", id: "bad"} {
		if got := body(t, http.StatusOK, operatorGet(t, s, fmt.Sprintf("%s?entry=%d", path, entry))); string(got) != want {
			t.Errorf("the payload of entry %d is %q", entry, got)
		}
	}
	other := p.mustRefuse(t, []byte("other"), "syntax", "[]", nil)
	body(t, http.StatusNotFound, operatorGet(t, s, fmt.Sprintf("%s?entry=%d", path, other)))
	body(t, http.StatusBadRequest, operatorGet(t, s, path+"?entry=x"))
}

// What a retry came to is told with its original, and nowhere else.
func TestARefusedRetryIsNoDeadLetterOfItsOwn(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	id := p.mustRefuse(t, []byte("bad"), "syntax", "[]", nil)
	s := newDeciding(t, p)
	entry := mustDecode[accepted](t, http.StatusAccepted, decide(t, s, id, "retry", "")).Entry
	p.mustApply(t, refused)
	for _, state := range []string{"open", "any"} {
		list := mustDecode[deadLetterList](t, http.StatusOK, operatorGet(t, s, "/api/v1/dead-letters?state="+state))
		if len(list.DeadLetters) != 1 || list.DeadLetters[0].ID != id {
			t.Errorf("%s: %+v", state, list.DeadLetters)
		}
	}
	body(t, http.StatusNotFound, operatorGet(t, s, fmt.Sprint("/api/v1/dead-letters/", entry)))
	body(t, http.StatusNotFound, operatorGet(t, s, fmt.Sprintf("/api/v1/dead-letters/%d/payload", entry)))
	for _, kind := range []string{"retry", "amend", "reopen"} {
		body(t, http.StatusNotFound, decide(t, s, entry, kind, ""))
	}
	p.mustTx(t, p.generation, func(tx pgx.Tx) error { // so that they are counted here
		_, err := tx.Exec(t.Context(), `drop table dead_letter_counts`)
		return err
	})
	g := mustDecode[groups](t, http.StatusOK, operatorGet(t, s, "/api/v1/dead-letters/groups?state=any"))
	if len(g.Reasons) != 1 || g.Reasons[0].Count != 1 {
		t.Errorf("groups %+v", g)
	}
}

func TestWhatMakesNoSenseIsRefusedAndNotRecorded(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newDeciding(t, p)
	open := p.mustRefuse(t, []byte("a"), "syntax", "[]", nil)
	discarded := p.mustRefuse(t, []byte("b"), "syntax", "[]", nil)
	done := p.mustRefuse(t, []byte("c"), "syntax", "[]", nil)
	p.mustTx(t, p.generation, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `update dead_letters set discarded = position = $1, resolved = case when position = $2 then 99 end where position <> $3`, discarded, done, open)
		return err
	})
	order := p.mustProject(t, mustModel(t, "a"))
	for _, c := range []struct {
		id         int64
		kind, body string
		status     int
		says       string
	}{
		{open, "reopen", "", 409, "is open"},
		{discarded, "retry", "", 409, "is discarded"}, {discarded, "amend", "x", 409, "is discarded"}, {discarded, "discard", `{"note": "x"}`, 409, "is discarded"},
		{done, "retry", "", 409, "is resolved"}, {done, "amend", "x", 409, "is resolved"},
		{done, "discard", `{"note": "x"}`, 409, "is resolved"}, {done, "reopen", "", 409, "is resolved"},
		{order, "retry", "", 404, "No dead letter"}, {9999, "discard", `{"note": "x"}`, 404, "No dead letter"},
		{open, "discard", "", 400, "note"}, {open, "discard", `{"note": " "}`, 400, "note"}, {open, "discard", `{"nota": "x"}`, 400, "JSON"},
		{open, "retry", `{"note": "x"} {}`, 400, "JSON"}, {open, "retry", `{"note": "\u0000"}`, 400, "characters"}, {open, "retry", `[]`, 400, "JSON"},
		{open, "retry", `{"note": "` + strings.Repeat("x", 4001) + `"}`, 400, "longer"}, {open, "retry?note=x", "", 400, "parameter"},
		{open, "amend", strings.Repeat("x", 1<<20+1), 413, "1048576"}, {open, "amend?nota=x", "x", 400, "parameter"},
		{open, "frobnicate", "", 404, "address"},
	} {
		if got := mustDecode[problem](t, c.status, decide(t, s, c.id, c.kind, c.body)); !strings.Contains(got.Detail, c.says) || got.Fix == "" {
			t.Errorf("%s of %d: %+v, want %s", c.kind, c.id, got, c.says)
		}
	}
	form := post(t, s, fmt.Sprintf("/api/v1/dead-letters/%d/amend", open), "x", "Authorization", "Bearer right", "Content-Type", "application/x-www-form-urlencoded")
	body(t, http.StatusUnsupportedMediaType, form)
	if n := p.mustCount(t, `select count(*) from decisions`); n != 0 {
		t.Errorf("%d decisions were recorded", n)
	}
}

func (p *projection) mustCount(tb testing.TB, statement string) (n int64) {
	tb.Helper()
	if err := p.pool.QueryRow(tb.Context(), statement).Scan(&n); err != nil {
		tb.Fatal(err)
	}
	return n
}

func TestADoubleClickDecidesOnce(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newDeciding(t, p)
	for _, c := range []struct{ kind, text string }{{"retry", ""}, {"amend", "x"}, {"discard", `{"note": "x"}`}} {
		id := p.mustRefuse(t, []byte("a"), "syntax", "[]", nil)
		body(t, http.StatusAccepted, decide(t, s, id, c.kind, c.text))
		if got := mustDecode[problem](t, http.StatusConflict, decide(t, s, id, c.kind, c.text)); !strings.HasSuffix(got.Type, ":decision-pending") {
			t.Errorf("%s: %+v", c.kind, got)
		}
	}
	if n := p.mustCount(t, `select count(*) from decisions`); n != 3 {
		t.Errorf("%d decisions", n)
	}
}

// Law 4: a retry is judged where it stands now, a replay would meet the original first.
func TestARetryThatAReplayWouldDecideOtherwiseIsRefused(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newDeciding(t, p)
	p.mustProject(t, mustModel(t, "early"))
	trapped := p.mustRefuse(t, []byte(`{"order_uid": "late", "ORDER_UID": "x"}`), "invalid", "[]", nil)
	free := map[string]int64{}
	for _, payload := range []string{`{"order_uid": "early"}`, `{"order_uid": "none"}`, `{"ORDER_UID": "late"}`, `{"a": {"order_uid": "late"}}`,
		`{"order_uid": "late"`, `{"order_uid": 7}`, `{"order_uid": "\u0000"}`, `["order_uid", "late"]`, `null`, ``, "\x00\xff"} {
		free[payload] = p.mustRefuse(t, []byte(payload), "invalid", "[]", nil)
	}
	later := p.mustProject(t, mustModel(t, "late"))

	got := mustDecode[problem](t, http.StatusConflict, decide(t, s, trapped, "retry", ""))
	if !strings.HasSuffix(got.Type, ":replay-decides-otherwise") || !strings.Contains(got.Detail, fmt.Sprint("position ", later, ",")) || !strings.Contains(got.Fix, "orderbox replay") {
		t.Errorf("%+v", got)
	}
	preview := mustDecode[bulkAnswer](t, http.StatusOK, bulk(t, s, "retry", `{"filter": {}, "preview": true}`))
	if preview.Count != len(free) || preview.LeftOut != 1 {
		t.Errorf("all at once: %+v, want %d and 1 left out", preview, len(free))
	}
	for payload, id := range free {
		if r := decide(t, s, id, "retry", ""); r.StatusCode != http.StatusAccepted {
			t.Errorf("%q: %s", payload, body(t, r.StatusCode, r))
		}
	}
	body(t, http.StatusAccepted, decide(t, s, trapped, "discard", `{"note": "the later one stands"}`))
}

func TestAReplicaThatOnlyReadsTakesNoDecisions(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	id := p.mustRefuse(t, []byte("a"), "syntax", "[]", nil)
	s, err := New(testservers.Open(t, p.ReaderURL, 4), Options{Tokens: []Token{{"ann", "right"}}})
	if err != nil {
		t.Fatal(err)
	}
	body(t, http.StatusNotFound, decide(t, s, id, "retry", ""))
	body(t, http.StatusNotFound, bulk(t, s, "retry", `{"filter": {}}`))
	if story := mustStory(t, s, id); story.State != "open" || len(story.History) != 0 {
		t.Errorf("%+v", story)
	}
}

func TestDecisionsAreTakenInTheNameOfWhoAsked(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newDeciding(t, p)
	id := p.mustRefuse(t, []byte("a"), "syntax", "[]", nil)
	cookie := login(t, s, "bob's", "").Cookies()[0].String()
	body(t, http.StatusAccepted, post(t, s, fmt.Sprintf("/api/v1/dead-letters/%d/discard", id), `{"note": "x"}`, "Cookie", cookie, "Sec-Fetch-Site", "same-origin"))
	if h := mustStory(t, s, id).History; len(h) != 1 || h[0].By != "bob" {
		t.Errorf("%+v", h)
	}
}
