package query

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

var twoTokens = []Token{{"ann", "ann's secret"}, {"bob", "bob's secret"}}

// post sends a body, with headers as get has them.
func post(tb testing.TB, s *Server, path, text string, header ...string) *http.Response {
	tb.Helper()
	return postFrom(tb, s, newAddress(), path, text, header...)
}

func postFrom(tb testing.TB, s *Server, address, path, text string, header ...string) *http.Response {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodPost, path, strings.NewReader(text))
	r.RemoteAddr = address
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return serve(tb, s, r, text)
}

func login(tb testing.TB, s *Server, token, next string, header ...string) *http.Response {
	tb.Helper()
	form := url.Values{"token": {token}, "next": {next}}.Encode()
	return post(tb, s, "/login", form, append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...)
}

func loginFrom(tb testing.TB, s *Server, address, token string) *http.Response {
	tb.Helper()
	return postFrom(tb, s, address, "/login", url.Values{"token": {token}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func mustKeyring(tb testing.TB, tokens ...Token) keyring {
	tb.Helper()
	keys, err := newKeyring(tokens)
	if err != nil {
		tb.Fatal(err)
	}
	return keys
}

func TestATokenTellsWhoseItIs(t *testing.T) {
	t.Parallel()
	keys := mustKeyring(t, twoTokens...)
	for secret, name := range map[string]string{
		"ann's secret": "ann", "bob's secret": "bob", "": "", "ann's secre": "", "ann's secret ": "", "ANN's secret": "", "ann": "",
	} {
		if got := keys.bearer(secret); got != name {
			t.Errorf("%q is %q's, want %q", secret, got, name)
		}
	}
	if name := mustKeyring(t).bearer(""); name != "" {
		t.Errorf("without tokens, nothing is %s's", name)
	}
}

// Where a loop ends early, its time tells how many keys it passed.
func TestEveryKeyIsComparedWhicheverIsTheOne(t *testing.T) {
	t.Parallel()
	keys := mustKeyring(t, twoTokens...)
	for _, one := range []string{"ann", "bob", "nobody"} {
		compared := 0
		found := keys.find(func(k operatorKey) int {
			compared++
			if k.name == one {
				return 1
			}
			return 0
		})
		if compared != len(keys) || (one != "nobody") != (found == one) {
			t.Errorf("%s: found %q after %d of %d", one, found, compared, len(keys))
		}
	}
}

func TestTokensAreCheckedAllAtOnceAndNotTold(t *testing.T) {
	t.Parallel()
	_, err := New(nil, Options{Tokens: []Token{{"ann", "secret 1"}, {"ann", "secret 2"}, {"bob", "secret 1"}, {"", "secret 3"}, {"eve", ""}}})
	if err == nil || strings.Contains(err.Error(), "secret 1") {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"ann and ann", "ann and bob", "token 4", "token 5"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing of %s: %v", want, err)
		}
	}
}

func TestACookieIsGoodForItsTimeAndItsToken(t *testing.T) {
	t.Parallel()
	keys, now := mustKeyring(t, twoTokens...), time.Now()
	cookie := keys.issue("bob", now.Add(time.Hour))
	if got := keys.cookie(cookie, now); got != "bob" {
		t.Errorf("it is %q's", got)
	}
	if got := mustKeyring(t, twoTokens[1], twoTokens[0]).cookie(cookie, now); got != "bob" {
		t.Errorf("at another replica it is %q's", got)
	}
	if got := keys.cookie(cookie, now.Add(time.Hour+time.Second)); got != "" {
		t.Error("it is good for ever")
	}
	for what, other := range map[string]keyring{
		"the secret changed": mustKeyring(t, twoTokens[0], Token{"bob", "another"}), "the name changed": mustKeyring(t, Token{"eve", "bob's secret"}),
		"there are none": mustKeyring(t),
	} {
		if got := other.cookie(cookie, now); got != "" {
			t.Errorf("%s, and it is %q's", what, got)
		}
	}
	expiry, signature, _ := strings.Cut(cookie, ".")
	for _, forged := range []string{
		"", ".", expiry, expiry + ".", "9" + expiry + "." + signature, "+" + expiry + "." + signature, expiry + "." + signature + "A",
		expiry + "." + strings.ToLower(signature), "." + signature, "x." + signature, expiry + "." + signature + "." + signature,
	} {
		if got := keys.cookie(forged, now); got != "" {
			t.Errorf("%q is %q's", forged, got)
		}
	}
}

func TestLoginGivesABrowserACookieWithoutTheSecret(t *testing.T) {
	t.Parallel()
	s := newServer(t, newProjection(t), Options{Tokens: twoTokens})
	r := login(t, s, "ann's secret", "/dead-letters/7?x=1")
	body(t, http.StatusSeeOther, r)
	if got := r.Header.Get("Location"); got != "/dead-letters/7?x=1" {
		t.Errorf("sent to %s", got)
	}
	if len(r.Cookies()) != 1 {
		t.Fatalf("cookies %v", r.Cookies())
	}
	c := r.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Secure || c.MaxAge <= 0 || strings.Contains(c.Value, "ann") {
		t.Errorf("cookie %s", c)
	}
	body(t, http.StatusOK, get(t, s, "/api/v1/dead-letters", "Cookie", c.String()))
	body(t, http.StatusUnauthorized, get(t, s, "/api/v1/dead-letters", "Cookie", c.String(), "Authorization", "Bearer wrong"))
	body(t, http.StatusUnauthorized, get(t, s, "/api/v1/dead-letters", "Cookie", cookieName+"=x"))

	overTLS := login(t, s, "ann's secret", "", "X-Forwarded-Proto", "https")
	if !overTLS.Cookies()[0].Secure {
		t.Error("not secure behind a proxy that speaks TLS")
	}
	direct := httptest.NewRequest(http.MethodPost, "/logout", nil)
	direct.TLS = &tls.ConnectionState{}
	w := httptest.NewRecorder()
	s.router().ServeHTTP(w, direct)
	if out := w.Result().Cookies(); len(out) != 1 || !out[0].Secure || out[0].Value != "" || out[0].MaxAge != -1 {
		t.Errorf("logout sets %v", out)
	}
}

func TestLoginNeedsAToken(t *testing.T) {
	t.Parallel()
	s := idle(t, Options{Tokens: twoTokens})
	for _, token := range []string{"", "wrong", "ann"} {
		r := login(t, s, token, "/")
		body(t, http.StatusUnauthorized, r)
		if len(r.Cookies()) != 0 {
			t.Errorf("%q gets a cookie", token)
		}
	}
	body(t, http.StatusBadRequest, login(t, s, strings.Repeat("x", 5000), "/"))
	body(t, http.StatusUnauthorized, post(t, s, "/login?token=ann's+secret", "")) // an address is logged
	body(t, http.StatusForbidden, login(t, idle(t, Options{}), "", ""))
}

func TestLoginLeadsToNoOtherSite(t *testing.T) {
	t.Parallel()
	s := idle(t, Options{Tokens: twoTokens})
	for _, next := range []string{"", "https://evil.example/", "//evil.example", `/\evil.example`, "/\t/evil.example", "dead-letters", "javascript:alert(1)"} {
		if got := login(t, s, "ann's secret", next).Header.Get("Location"); got != "/dead-letters" {
			t.Errorf("%q leads to %q", next, got)
		}
	}
}

func TestWritesFromOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t, newProjection(t), Options{Tokens: twoTokens})
	cookie := login(t, s, "ann's secret", "").Cookies()[0].String()
	n := 0
	for _, rt := range s.routes() {
		if rt.method != http.MethodPost {
			continue
		}
		n++
		path := strings.ReplaceAll(rt.path, "{id}", "1")
		for _, header := range [][]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "null"}} {
			r := post(t, s, path, "", append(header, "Cookie", cookie)...)
			if text := body(t, http.StatusForbidden, r); !strings.Contains(string(text), "Nothing was changed") {
				t.Errorf("%s with %v: %s", path, header, text)
			}
		}
		for _, header := range [][]string{{"Origin", "http://example.com"}, {"Sec-Fetch-Site", "same-origin"}, {}} {
			if r := post(t, s, path, "", append(header, "Cookie", cookie)...); r.StatusCode == http.StatusForbidden {
				t.Errorf("%s with %v is refused", path, header)
			}
		}
	}
	if n < 2 {
		t.Errorf("%d routes that write", n)
	}
	body(t, http.StatusOK, get(t, s, "/api/v1/dead-letters", "Cookie", cookie, "Origin", "https://evil.example")) // reads change nothing
}
