package query

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// mustSeed makes many dead letters at the positions behind after: two of three invalid, each tenth resolved,
// failing at /payment/amount or at /items/*/price.
func (p *projection) mustSeed(tb testing.TB, n, after int) {
	tb.Helper()
	p.mustTx(tb, p.generation, func(tx pgx.Tx) error {
		for _, statement := range []string{
			`insert into reasons (code, sentence, help) values ('malformed', 'M.', 'h'), ('invalid', 'I.', 'h') on conflict do nothing`,
			`insert into inbox (source, channel, sequence, stamped_at, received_at, payload)
				select 'stan', 'seeded', n, '2026-11-20 10:20:30Z', timestamptz '2026-01-01Z' + n * interval '1 second',
					convert_to('{"order_uid": "seeded-' || n || '", "filler": "' || repeat('x', 200) || '"}', 'UTF8')
				from generate_series($2::bigint + 1, $2::bigint + $1::bigint) as n`,
			`insert into dead_letters (position, reason, sentence, violations, schema_version, received_at, resolved)
				select position, case when sequence % 3 = 0 then 'malformed' else 'invalid' end, 'What is wrong.', '[]', 'v1', received_at,
					case when sequence % 10 = 0 then position end
				from inbox where channel = 'seeded' and sequence > $2::bigint and sequence <= $2::bigint + $1::bigint`,
			`insert into dead_letter_places (place, position)
				select case when i.sequence % 3 = 0 then '' when i.sequence % 2 = 0 then '/payment/amount' else '/items/*/price' end, i.position
				from inbox as i where channel = 'seeded' and sequence > $2::bigint and sequence <= $2::bigint + $1::bigint`,
			`update checkpoint set position = (select max(position) from inbox)`,
			countSQL,
		} {
			var arguments []any
			if strings.Contains(statement, "$1") {
				arguments = []any{n, after}
			}
			if _, err := tx.Exec(tb.Context(), statement, arguments...); err != nil {
				return err
			}
		}
		return nil
	})
}

// countSQL brings the counts up to date with dead letters that were made.
const countSQL = `
	insert into dead_letter_counts (reason, place, state, letters)
	select reason, place, state, count(*)
	from dead_letters
	join (select position, '*' as place from dead_letters union all select position, place from dead_letter_places) as p using (position)
	where original is null
	group by reason, place, state
	on conflict (reason, place, state) do update
	set letters = excluded.letters`

// pages reads a list to its end and returns the ids, and how many pages it took.
func pages(tb testing.TB, s *Server, query url.Values) (ids []int64, n int) {
	tb.Helper()
	for {
		n++
		page := mustDecode[deadLetterList](tb, http.StatusOK, get(tb, s, "/api/v1/dead-letters?"+query.Encode(), "Authorization", "Bearer right"))
		for _, d := range page.DeadLetters {
			ids = append(ids, d.ID)
		}
		if page.Next == nil {
			return ids, n
		}
		query.Set("after", *page.Next)
	}
}

func TestFiltersMeanWhatTheySay(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustSeed(t, 120, 0)
	s := newServer(t, p, Options{Tokens: []Token{{"ann", "right"}}})
	at := func(n int) string {
		return time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC).In(time.FixedZone("", 3600)).Format(time.RFC3339)
	}
	for _, c := range []struct {
		query url.Values
		means func(n int) bool
	}{
		{url.Values{}, func(n int) bool { return n%10 != 0 }},
		{url.Values{"state": {"open"}}, func(n int) bool { return n%10 != 0 }},
		{url.Values{"state": {"resolved"}}, func(n int) bool { return n%10 == 0 }},
		{url.Values{"state": {"discarded"}}, func(int) bool { return false }},
		{url.Values{"state": {"any"}}, func(int) bool { return true }},
		{url.Values{"state": {"any"}, "reason": {"malformed"}}, func(n int) bool { return n%3 == 0 }},
		{url.Values{"state": {"any"}, "place": {""}}, func(n int) bool { return n%3 == 0 }},
		{url.Values{"place": {"/payment/amount"}}, func(n int) bool { return n%10 != 0 && n%3 != 0 && n%2 == 0 }},
		{url.Values{"place": {"/items/*/price"}, "reason": {"malformed"}}, func(int) bool { return false }},
		{url.Values{"state": {"any"}, "since": {at(50)}, "until": {at(60)}}, func(n int) bool { return n >= 50 && n < 60 }},
		{url.Values{"state": {"any"}, "text": {"seeded-11"}}, func(n int) bool { return n == 11 || n >= 110 && n < 120 }},
		{url.Values{"text": {"seeded-11"}, "place": {"/items/*/price"}, "since": {at(100)}}, func(n int) bool { return n == 113 || n == 115 || n == 119 }},
	} {
		var want []int64
		for n := 120; n > 0; n-- {
			if c.means(n) {
				want = append(want, int64(n)) // positions count like sequences here
			}
		}
		query := c.query.Encode()
		c.query.Set("limit", "7")
		if got, _ := pages(t, s, c.query); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
}

func TestABadFilterIsNamed(t *testing.T) {
	t.Parallel()
	s := newServer(t, newProjection(t), Options{Tokens: []Token{{"ann", "right"}}})
	for query, named := range map[string]string{
		"state=closed": "state", "place=x": "JSON Pointer", "since=yesterday": "since", "until=2026-01-01": "until",
		"since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z": "before", "text=" + strings.Repeat("x", 1001): "longer", "text=%00": "text",
		"sate=open": "not known",
	} {
		if got := mustDecode[problem](t, http.StatusBadRequest, operatorGet(t, s, "/api/v1/dead-letters?"+query)); !strings.Contains(got.Detail, named) {
			t.Errorf("%s: %+v", query, got)
		}
	}
	body(t, http.StatusBadRequest, operatorGet(t, s, "/api/v1/dead-letters/groups?by=channel"))
	body(t, http.StatusBadRequest, operatorGet(t, s, "/api/v1/dead-letters/groups?state=closed"))
}

func TestPagingVisitsEverythingOnceWhileNewOnesArrive(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustSeed(t, 100, 0)
	s := newServer(t, p, Options{Tokens: []Token{{"ann", "right"}}})
	var got []int64
	for query, n := (url.Values{"limit": {"9"}, "state": {"any"}}), 1; ; n++ {
		page := mustDecode[deadLetterList](t, http.StatusOK, operatorGet(t, s, "/api/v1/dead-letters?"+query.Encode()))
		for _, d := range page.DeadLetters {
			got = append(got, d.ID)
		}
		p.mustRefuse(t, []byte("new"), "invalid", "[]", nil)
		if page.Next == nil {
			break
		}
		query.Set("after", *page.Next)
	}
	var want []int64
	for id := int64(100); id > 0; id-- {
		want = append(want, id)
	}
	if !slices.Equal(got, want) {
		t.Errorf("visited %d: %v", len(got), got)
	}
}

func TestASearchLooksAtABoundedNumberAndGoesOn(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustSeed(t, 2*searchCandidates+500, 0)
	s := newServer(t, p, Options{Tokens: []Token{{"ann", "right"}}})
	first := mustDecode[deadLetterList](t, http.StatusOK, operatorGet(t, s, `/api/v1/dead-letters?state=any&text=%22seeded-1%22`))
	if len(first.DeadLetters) != 0 || first.Next == nil || *first.Next != fmt.Sprint(searchCandidates+501) {
		t.Errorf("the first page has %d and goes on at %v", len(first.DeadLetters), first.Next)
	}
	if ids, n := pages(t, s, url.Values{"state": {"any"}, "text": {`"seeded-1"`}}); n != 3 || !slices.Equal(ids, []int64{1}) {
		t.Errorf("found %v in %d pages", ids, n)
	}
}

func TestASearchIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	var ids []int64
	for range 3 {
		ids = append(ids, p.mustRefuse(t, []byte(strings.Repeat("y", searchBytes/2-1)+"z"), "syntax", "[]", nil))
	}
	s := newServer(t, p, Options{})
	f := filter{State: stateAny, Text: "z"}
	err := s.query(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		found, next, err := f.page(ctx, tx, maxPosition, 10)
		if err != nil {
			return err
		}
		if !slices.Equal(found, []int64{ids[2], ids[1]}) || next != ids[0]+1 {
			t.Errorf("found %v of %v, goes on before %d", found, ids, next)
		}
		all, err := searchAll(ctx, tx, []int64{ids[2], ids[1], ids[0]}, "z")
		if len(all) != 3 {
			t.Errorf("all: %v", all)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestGroupsCountByReasonAndPlace(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustSeed(t, 120, 0)
	s := newServer(t, p, Options{Tokens: []Token{{"ann", "right"}}})
	get := func(query string) string {
		return fmt.Sprint(mustDecode[groups](t, http.StatusOK, operatorGet(t, s, "/api/v1/dead-letters/groups"+query)))
	}
	const reasons = "[{invalid I. 72} {malformed M. 36}]"
	const places = "[{invalid /items/*/price 40} {malformed  36} {invalid /payment/amount 32}]"
	if got := get(""); got != "{"+reasons+" "+places+"}" {
		t.Errorf("both: %s", got)
	}
	if got := get("?by=reason"); got != "{"+reasons+" []}" {
		t.Errorf("by reason: %s", got)
	}
	if got := get("?by=place&state=resolved"); got != "{[] [{invalid /payment/amount 8} {malformed  4}]}" {
		t.Errorf("resolved by place: %s", got)
	}
	if got := get("?state=any"); got != "{[{invalid I. 80} {malformed M. 40}] [{invalid /items/*/price 40} {invalid /payment/amount 40} {malformed  40}]}" {
		t.Errorf("in any state: %s", got)
	}
}

// Reading two hundred thousand of them takes longer than anybody waits for a page.
func TestGroupsReadNoDeadLetters(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustSeed(t, 12, 0)
	s := newServer(t, p, Options{Tokens: []Token{{"ann", "right"}}})
	answers := func() string {
		return string(body(t, http.StatusOK, operatorGet(t, s, "/api/v1/dead-letters/groups"))) +
			string(body(t, http.StatusOK, operatorGet(t, s, "/api/v1/dead-letters/groups?state=any")))
	}
	want := answers()
	exec := func(statement string) {
		p.mustTx(t, p.generation, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), statement)
			return err
		})
	}
	exec(`alter table dead_letters rename to away`)
	if got := answers(); got != want {
		t.Errorf("without the dead letters %s, want %s", got, want)
	}
	exec(`alter table away rename to dead_letters`)
	exec(`drop table dead_letter_counts`) // as in a generation that an earlier version made
	if got := answers(); got != want {
		t.Errorf("without the counts %s, want %s", got, want)
	}
}

func TestALetterThatAnotherSchemaJudgedIsOutdated(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	id := p.mustRefuse(t, []byte("x"), "syntax", "[]", nil)
	s := newServer(t, p, Options{Tokens: []Token{{"ann", "right"}}})
	for _, c := range []struct {
		adopted  string
		outdated bool
	}{{"", false}, {"v1", false}, {"v2", true}, {"v1", false}} {
		if c.adopted != "" {
			p.mustTx(t, p.generation, func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), `insert into schemas (version, fingerprint, source, after) values ($1, '', '', 0)`, c.adopted)
				return err
			})
		}
		list := mustDecode[deadLetterList](t, http.StatusOK, operatorGet(t, s, "/api/v1/dead-letters"))
		if got := mustStory(t, s, id).Outdated; got != c.outdated || list.DeadLetters[0].Outdated != c.outdated {
			t.Errorf("after %q: %t", c.adopted, got)
		}
	}
}

// A payload is never served as anything but bytes to save, and what is told of it is JSON that no browser
// takes for a page.
func TestMarkupInAMessageStaysText(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	const markup = `<script>alert(1)</script>`
	id := p.mustRefuse(t, []byte(markup), "syntax", `[{"pointer": "/<script>", "keyword": "k", "message": "<img src=x>"}]`, nil)
	s := newDeciding(t, p)
	body(t, http.StatusAccepted, decide(t, s, id, "retry", `{"note": "<b>"}`))
	for _, path := range []string{"", "/payload"} {
		r := operatorGet(t, s, fmt.Sprintf("/api/v1/dead-letters/%d%s", id, path))
		kind := r.Header.Get("Content-Type")
		if r.Header.Get("X-Content-Type-Options") != "nosniff" || kind != typeJSON && kind != "application/octet-stream" {
			t.Errorf("%s: %v", path, r.Header)
		}
	}
	story := mustStory(t, s, id)
	if story.Violations[0].Pointer != "/<script>" || story.History[0].Note != "<b>" {
		t.Errorf("%+v", story)
	}
}
