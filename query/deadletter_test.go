package query

import (
	"bytes"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

type deadLetterList struct {
	DeadLetters []deadLetter `json:"dead_letters"`
	Next        *string      `json:"next"`
}

func operatorGet(t *testing.T, s *Server, path string) *http.Response {
	t.Helper()
	return get(t, s, path, "Authorization", "Bearer right")
}

func TestDeadLetterSaysAllThatIsWrong(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	first := p.mustProject(t, mustModel(t, "a"))
	id := p.mustRefuse(t, []byte("seven b"), "conflict",
		`[{"pointer": "/items/0/price", "keyword": "minimum", "message": "is below 0"}]`, &first)
	s := newServer(t, p, Options{Tokens: []Token{{"ann", "right"}}})
	got := mustDecode[deadLetter](t, http.StatusOK, operatorGet(t, s, fmt.Sprint("/api/v1/dead-letters/", id)))
	if time.Since(got.ReceivedAt) > time.Hour || got.ReceivedAt.Location() != time.UTC {
		t.Errorf("received at %v", got.ReceivedAt)
	}
	got.ReceivedAt = time.Time{}
	want := deadLetter{
		ID: id, Reason: "conflict", Sentence: "What is wrong.", Help: "Some help.",
		Violations:    []violation{{Pointer: "/items/0/price", Keyword: "minimum", Message: "is below 0"}},
		SchemaVersion: "v1", State: "open", First: &first, Source: "stan", Channel: "orders", Sequence: id, Size: 7,
		StampedAt: time.Date(2026, 11, 20, 10, 20, 30, 123456000, time.UTC),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDeadLettersComeNewestFirstByReason(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	var syntax, all []int64
	for i := range 6 {
		reason := []string{"syntax", "schema"}[i%2]
		id := p.mustRefuse(t, []byte("x"), reason, "[]", nil)
		all = append([]int64{id}, all...)
		if reason == "syntax" {
			syntax = append([]int64{id}, syntax...)
		}
	}
	s := newServer(t, p, Options{Tokens: []Token{{"ann", "right"}}})
	list := func(query string) (ids []int64) {
		for after := ""; ; {
			page := mustDecode[deadLetterList](t, http.StatusOK, operatorGet(t, s, "/api/v1/dead-letters?limit=2"+query+after))
			for _, d := range page.DeadLetters {
				ids = append(ids, d.ID)
			}
			if page.Next == nil {
				return ids
			}
			after = "&after=" + *page.Next
		}
	}
	if got := list(""); !slices.Equal(got, all) {
		t.Errorf("all: %v, want %v", got, all)
	}
	if got := list("&reason=syntax"); !slices.Equal(got, syntax) {
		t.Errorf("syntax: %v, want %v", got, syntax)
	}
	if got := mustDecode[problem](t, http.StatusBadRequest, operatorGet(t, s, "/api/v1/dead-letters?reason=sintax")); !strings.Contains(got.Fix, "schema, syntax") {
		t.Errorf("a misspelt reason: %+v", got)
	}
	body(t, http.StatusBadRequest, operatorGet(t, s, "/api/v1/dead-letters?reason=%00")) // which the database would refuse
}

func TestNoDeadLettersIsAnEmptyList(t *testing.T) {
	t.Parallel()
	s := newServer(t, newProjection(t), Options{Tokens: []Token{{"ann", "right"}}})
	if got := body(t, http.StatusOK, operatorGet(t, s, "/api/v1/dead-letters")); string(got) != `{"dead_letters":[],"next":null}`+"\n" {
		t.Errorf("%s", got)
	}
}

func TestPayloadComesBackVerbatim(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newServer(t, p, Options{Tokens: []Token{{"ann", "right"}}})
	for _, payload := range [][]byte{{}, {0}, []byte("\xff\xfe<script>"), bytes.Repeat([]byte{0, 1, 0xfe}, 200_000)} {
		id := p.mustRefuse(t, payload, "syntax", "[]", nil)
		r := operatorGet(t, s, fmt.Sprintf("/api/v1/dead-letters/%d/payload", id))
		if got := body(t, http.StatusOK, r); !bytes.Equal(got, payload) {
			t.Errorf("%d bytes came back as %d", len(payload), len(got))
		}
		for name, want := range map[string]string{
			"Content-Type":           "application/octet-stream",
			"Content-Disposition":    fmt.Sprintf(`attachment; filename="dead-letter-%d.bin"`, id),
			"X-Content-Type-Options": "nosniff",
			"Cache-Control":          "no-store",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
	}
}

func TestWhatIsNoDeadLetterIsNotShown(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	order := p.mustProject(t, mustModel(t, "a"))
	s := newServer(t, p, Options{Tokens: []Token{{"ann", "right"}}})
	for id, status := range map[string]int{
		fmt.Sprint(order): http.StatusNotFound, "999999": http.StatusNotFound,
		"0": http.StatusBadRequest, "-1": http.StatusBadRequest, "x": http.StatusBadRequest, "01": http.StatusBadRequest,
	} {
		body(t, status, operatorGet(t, s, "/api/v1/dead-letters/"+id))
		body(t, status, operatorGet(t, s, "/api/v1/dead-letters/"+id+"/payload"))
	}
}

func TestDeadLettersBeforeTheFirstProjectionAreNotThereYet(t *testing.T) {
	t.Parallel()
	s := newServer(t, newEmptyDatabase(t), Options{Tokens: []Token{{"ann", "right"}}})
	body(t, http.StatusServiceUnavailable, operatorGet(t, s, "/api/v1/dead-letters"))
}
