package query

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestPageWithoutALoginLeadsToOneAndBack(t *testing.T) {
	t.Parallel()
	s := idle(t, Options{Tokens: twoTokens})
	for path, next := range map[string]string{
		"/dead-letters?reason=a&place=/b": "/dead-letters?reason=a&place=/b", "/dead-letters/7": "/dead-letters/7",
	} {
		r := get(t, s, path)
		body(t, http.StatusSeeOther, r)
		to, err := url.Parse(r.Header.Get("Location"))
		if err != nil || to.Path != "/login" || to.Query().Get("next") != next {
			t.Errorf("%s leads to %v, %v", path, to, err)
		}
		if page := mustShow(t, s, http.StatusOK, to.String()); !strings.Contains(page, `name="next" value="`+strings.ReplaceAll(next, "&", "&amp;")+`"`) {
			t.Errorf("%s is forgotten: %s", next, page)
		}
	}
	r := post(t, s, "/dead-letters/7/retry", "")
	body(t, http.StatusSeeOther, r)
	if got := r.Header.Get("Location"); got != "/login?next=%2Fdead-letters%2F7" {
		t.Errorf("a decision without a login leads to %s", got)
	}
	body(t, http.StatusUnauthorized, get(t, s, "/api/v1/dead-letters"))
}

func TestWrongTokenIsAskedForAgain(t *testing.T) {
	t.Parallel()
	s := idle(t, Options{Tokens: twoTokens})
	r := login(t, s, "wrong", `/dead-letters?text="><b>`)
	page := string(body(t, http.StatusUnauthorized, r))
	mustSay(t, page, "No operator has this token")
	if !strings.Contains(page, `value="/dead-letters?text=&#34;&gt;&lt;b&gt;"`) || strings.Contains(page, "wrong") {
		t.Errorf("%s", page)
	}
}

func TestWhoIsLoggedInIsSentOnAndNamed(t *testing.T) {
	t.Parallel()
	s := filled(t, mustModel(t, "a"))
	s.keys = mustKeyring(t, twoTokens...)
	cookie := login(t, s, "ann's secret", "").Cookies()[0].String()
	r := get(t, s, "/login?next=/orders/a", "Cookie", cookie)
	body(t, http.StatusSeeOther, r)
	if got := r.Header.Get("Location"); got != "/orders/a" {
		t.Errorf("sent to %s", got)
	}
	for _, path := range []string{"/", "/orders/a", "/nowhere"} {
		for header, want := range map[string]bool{cookie: true, "": false} {
			r := get(t, s, path, "Cookie", header)
			page := string(body(t, r.StatusCode, r))
			if got := strings.Contains(page, `href="/dead-letters"`) && strings.Contains(page, "<bdi>ann</bdi>"); got != want {
				t.Errorf("%s names the operator: %t, want %t", path, got, want)
			}
		}
	}
}

func TestLoginSaysWhenThereAreNoOperators(t *testing.T) {
	t.Parallel()
	s := idle(t, Options{})
	for _, path := range []string{"/login", "/dead-letters"} {
		mustSay(t, mustShow(t, s, http.StatusForbidden, path), "runs without an operator token", "ORDERBOX_OPERATOR_TOKEN")
	}
}
