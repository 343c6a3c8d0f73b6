package query

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/mux"

	"orderbox"
	"orderbox/internal/testservers"
)

func TestModelComesBackFieldForFieldInItsOrder(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../publisher/model.json")
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Compact(&want, text); err != nil {
		t.Fatal(err)
	}
	p := newProjection(t)
	p.mustProject(t, mustModel(t, "b563feb7b2b84b6test"))
	r := get(t, newRunning(t, p, Options{}), "/api/v1/orders/b563feb7b2b84b6test")
	if got := body(t, http.StatusOK, r); !bytes.Equal(got, want.Bytes()) {
		t.Errorf("got  %s\nwant %s", got, want.Bytes())
	}
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %s", got)
	}
}

func TestRestartServesTheSameBytes(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	var uids []string
	var before [][]byte
	first := newRunning(t, p, Options{})
	for _, o := range awkwardOrders(t) {
		uids = append(uids, o.OrderUID)
		position := p.mustProject(t, o)
		testservers.Eventually(t, "the order is seen", func() bool { return first.cache().position.Load() == position })
	}
	for _, uid := range uids {
		before = append(before, body(t, http.StatusOK, get(t, first, "/api/v1/orders/"+url.PathEscape(uid))))
	}
	second := newRunning(t, p, Options{})
	for i, o := range awkwardOrders(t) {
		after := body(t, http.StatusOK, get(t, second, "/api/v1/orders/"+url.PathEscape(uids[i])))
		if !bytes.Equal(before[i], after) || !bytes.Equal(after, o.JSON()) {
			t.Errorf("%s\nbefore %s\nafter  %s\nsent   %s", uids[i], before[i], after, o.JSON())
		}
	}
}

// awkwardOrders are orders that a careless column, join or encoder would change.
func awkwardOrders(t *testing.T) []orderbox.Order {
	many := mustModel(t, "many items")
	many.Items = slices.Repeat(many.Items, 300)
	for i := range many.Items {
		many.Items[i].ChrtID = int64(300 - i) // so that no other order than the lines' will do
	}
	text := mustModel(t, "text")
	text.Delivery.Name = "Ольга \u2028 <b>&amp;</b> 👩‍👩‍👧 \u202e \t \x7f \" \\ "
	text.Locale = strings.Repeat("ё", 200)
	numbers := mustModel(t, "numbers")
	numbers.SmID, numbers.Items[0].Status, numbers.Payment.Amount = -1<<63, 1<<63-1, 1<<53+1
	dates := mustModel(t, "dates")
	dates.DateCreated = "2021-11-26T06:22:19.123456789012+05:45"
	return []orderbox.Order{many, text, numbers, dates}
}

func TestUnchangedOrderIsNotSentAgain(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustProject(t, mustModel(t, "a"))
	s := newRunning(t, p, Options{})
	r := get(t, s, "/api/v1/orders/a")
	tag := r.Header.Get("ETag")
	if tag == "" || strings.HasPrefix(tag, "W/") || r.Header.Get("Cache-Control") != "no-cache" {
		t.Fatalf("headers %v", r.Header)
	}
	for _, sent := range []string{tag, `"other", ` + tag, "W/" + tag, "*"} {
		r := get(t, s, "/api/v1/orders/a", "If-None-Match", sent)
		if got := body(t, http.StatusNotModified, r); len(got) != 0 || r.Header.Get("ETag") != tag {
			t.Errorf("%s: %d bytes, headers %v", sent, len(got), r.Header)
		}
	}
	body(t, http.StatusNotModified, get(t, s, "/api/v1/orders/a", "If-None-Match", `"other"`, "If-None-Match", tag))
	body(t, http.StatusOK, get(t, s, "/api/v1/orders/a", "If-None-Match", `"other"`))
}

func TestEveryIDIsReachable(t *testing.T) {
	t.Parallel()
	uids := []string{
		"a/b", "/", "//x//", "100%", "%2F", "%zz", "..", ".", "../../etc", "two words", " ", "+", "a?b#c", "a;b=c",
		"\u200fשלום\u202e", "ё", "👩‍👩‍👧", "\"'<>&", "\\", "\n", strings.Repeat("ж", 64), "latest", "orders", "a/source", "source", "order_uid=a", "%2e%2e", ".%2e",
		"..;", "e\u0301", "\ufeff", "\u2028", "\x7f", "&order_uid=b",
	}
	p := newProjection(t)
	for _, uid := range uids {
		p.mustProject(t, mustModel(t, uid))
	}
	s := newRunning(t, p, Options{})
	for _, uid := range uids {
		for _, path := range []string{"/api/v1/orders/" + url.PathEscape(uid), "/api/v1/orders?order_uid=" + url.QueryEscape(uid), "/api/v1" + orderLink(uid)} {
			r := get(t, s, path)
			if o := mustDecode[orderbox.Order](t, http.StatusOK, r); o.OrderUID != uid {
				t.Errorf("%q was asked for, %q is the answer", uid, o.OrderUID)
			}
			body(t, http.StatusNotModified, get(t, s, path, "If-None-Match", r.Header.Get("ETag")))
			if head := do(t, s, http.MethodHead, path); head.StatusCode != http.StatusOK || head.Header.Get("ETag") != r.Header.Get("ETag") {
				t.Errorf("HEAD of %s: %d, %v", path, head.StatusCode, head.Header)
			}
		}
	}
	for _, query := range []string{"order_uid=a&limit=1", "order_uid=a&order_uid=b", "order_uid=", "order_uid=a%00", "uid=a"} {
		body(t, http.StatusBadRequest, get(t, s, "/api/v1/orders?"+query))
	}
}

// Another schema may let longer ids through than the built-in one.
func TestAnOrderThatIsThereIsFoundHoweverLongItsIDIs(t *testing.T) {
	t.Parallel()
	uid := strings.Repeat("ж", 500)
	s := filled(t, mustModel(t, uid))
	body(t, http.StatusOK, get(t, s, "/api/v1/orders/"+url.PathEscape(uid)))
	mustShow(t, s, http.StatusOK, orderLink(uid))
}

func TestImpossibleIDIsRefused(t *testing.T) {
	t.Parallel()
	s := newRunning(t, newProjection(t), Options{})
	for _, path := range []string{"a%00b", "%ff", strings.Repeat("a", 65), strings.Repeat("%D0%B6", 65)} {
		p := mustDecode[problem](t, http.StatusBadRequest, get(t, s, "/api/v1/orders/"+path))
		if !strings.Contains(p.Detail, "order_uid") || p.Fix == "" {
			t.Errorf("%s: %+v", path, p)
		}
	}
}

// Until the cache is filled the database says what is unknown, and without it nobody does.
func TestMissIsUnknownOnlyToWhoKnowsAllOrders(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustProject(t, mustModel(t, "here"))
	s := newServer(t, p, Options{})
	body(t, http.StatusNotFound, get(t, s, "/api/v1/orders/a"))
	want := mustModel(t, "here")
	if got := body(t, http.StatusOK, get(t, s, "/api/v1/orders/here")); !bytes.Equal(got, want.JSON()) {
		t.Errorf("before the cache is filled: %s", got)
	}
	if list := mustDecode[orderList](t, http.StatusOK, get(t, s, "/api/v1/orders")); len(list.Orders) != 1 {
		t.Errorf("before the cache is filled: %+v", list)
	}
	admin := testservers.Open(t, p.AdminURL, 1)
	mustAllowConnections(t, admin.Config().ConnConfig, false)
	for _, path := range []string{"/api/v1/orders/a", "/api/v1/orders"} {
		r := get(t, s, path)
		body(t, http.StatusServiceUnavailable, r)
		if r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no word of when to try again", path)
		}
	}
	mustAllowConnections(t, admin.Config().ConnConfig, true)
	mustRun(t, s)
	r := get(t, s, "/api/v1/orders/a")
	if p := mustDecode[problem](t, http.StatusNotFound, r); p.Type != "urn:orderbox:problem:not-found" || p.Status != 404 {
		t.Errorf("%+v", p)
	}
	if got := r.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %s", got)
	}
}

type orderList struct {
	Orders []json.RawMessage `json:"orders"`
	Next   *string           `json:"next"`
}

func TestLatestOrdersComeNewestFirstPageByPage(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	var want []string
	for _, uid := range []string{"a", "b", "c", "d", "e"} {
		o := mustModel(t, uid)
		p.mustProject(t, o)
		p.mustReceive(t, []byte{}) // positions have gaps
		want = append(want, string(o.JSON()))
	}
	slices.Reverse(want)
	s := newRunning(t, p, Options{})
	var got []string
	for path := "/api/v1/orders?limit=2"; path != ""; {
		page := mustDecode[orderList](t, http.StatusOK, get(t, s, path))
		for _, o := range page.Orders {
			got = append(got, string(o))
		}
		if path = ""; page.Next != nil {
			path = "/api/v1/orders?limit=2&after=" + *page.Next
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if page := mustDecode[orderList](t, http.StatusOK, get(t, s, "/api/v1/orders?limit=5")); page.Next != nil {
		t.Error("a last page that is full says that it is not the last")
	}
	if page := mustDecode[orderList](t, http.StatusOK, get(t, s, "/api/v1/orders?after=1")); page.Orders == nil || len(page.Orders) > 0 {
		t.Errorf("the page behind the first order is %v", page.Orders)
	}
}

func TestBadParameterIsNamed(t *testing.T) {
	t.Parallel()
	s := newRunning(t, newProjection(t), Options{Tokens: []Token{{"ann", "t"}}})
	for query, named := range map[string]string{
		"limit=0": "limit", "limit=101": "limit", "limit=x": "limit", "limit=": "limit", "limit=1&limit=2": "limit",
		"after=-1": "after", "after=0": "after", "after=x": "after", "after=+1": "after", "after=9223372036854775808": "after",
		"lim=1": "limit, after", "limit=%zz": "encoded", "after=%00": "after", "after=%ff": "after",
	} {
		for _, path := range []string{"/api/v1/orders?", "/api/v1/dead-letters?"} {
			p := mustDecode[problem](t, http.StatusBadRequest, get(t, s, path+query, "Authorization", "Bearer t"))
			if !strings.Contains(p.Detail+p.Fix, named) {
				t.Errorf("%s%s: %+v", path, query, p)
			}
		}
	}
}

// Lookups do not come by the router, and are told from other requests as it would tell them.
func FuzzLookedUp(f *testing.F) {
	for _, target := range []string{
		"/", "/api/v1/orders", "/api/v1/orders/", "/api/v1/orders/a", "/api/v1/orders/a/", "/api/v1/orders/a/source", "/api/v1/orders//",
		"/api/v1/orders//a", "/api/v1/orders/a%2fb", "/api/v1/orders/%2F", "/api/v1/orders/%00", "/api/v1/orders/%", "/api/v1/orders/..",
		"/api/v1/orders/a?b=/c", "/api/v1/orders/a?/", "/api/v1/orders?a", "/api/v1/%6frders/a", "/api/v1/orders%2Fa", "/API/v1/orders/a", "//api/v1/orders/a",
		"/x/api/v1/orders/a", "/api/v1/orders/\n", "/api/v1/orders/a\r\n", "/api/v1/orders/a;b", "/api/v1/orders/\xff", "/api/v1/orders/ж {}|^", "http://host/api/v1/orders/a", "*", "",
	} {
		f.Add(target)
	}
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	router.NewRoute().Path(lookupPath)
	f.Fuzz(func(t *testing.T, target string) {
		at, err := url.ParseRequestURI(target)
		if err != nil {
			at = &url.URL{Path: target}
		}
		r := &http.Request{Method: http.MethodGet, URL: at}
		var match mux.RouteMatch
		want := router.Match(r, &match)
		if uid, ok := lookedUp(r); ok != want || ok && uid != match.Vars["order_uid"] {
			t.Errorf("%q is a lookup of %q (%v), and the router's of %q (%v)", target, uid, ok, match.Vars["order_uid"], want)
		}
	})
}

// A lookup over HTTP, without the network: the index, and the map of headers.
func BenchmarkOrderJSON(b *testing.B) {
	s := idle(b, Options{})
	o := mustModel(b, "b563feb7b2b84b6test")
	s.cache().add(1, o.OrderUID, o.JSON())
	benchmarkHandler(b, s, "/api/v1/orders/b563feb7b2b84b6test")
}
