package query

import (
	"html"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"orderbox"
	"orderbox/internal/testservers"
	"orderbox/static"
)

// filled is a stage whose cache holds these orders, without a database.
func filled(tb testing.TB, orders ...orderbox.Order) *Server {
	tb.Helper()
	s := idle(tb, Options{})
	c := s.cache()
	for i, o := range orders {
		c.add(int64(i+1), o.OrderUID, o.JSON())
	}
	c.complete.Store(true)
	return s
}

// mustShow returns a page as it is written, after checking its status and that it is one.
func mustShow(tb testing.TB, s *Server, status int, path string) string {
	tb.Helper()
	r := get(tb, s, path)
	page := string(body(tb, status, r))
	if kind := r.Header.Get("Content-Type"); kind != "text/html; charset=utf-8" {
		tb.Fatalf("%s is answered with %s", path, kind)
	}
	return page
}

// text is what a reader sees of a page, each run of white space as one space.
func text(page string) string {
	_, main, _ := strings.Cut(page, "<main")
	main = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(main, "")
	return strings.Join(strings.Fields(html.UnescapeString(main)), " ")
}

// heading is the order_uid above an order's page, as who copies it gets it; empty when there is none.
func heading(page string) string {
	found := regexp.MustCompile(`(?s)<h1 id="uid"><bdi>(.*?)</bdi></h1>`).FindStringSubmatch(page)
	if found == nil {
		return ""
	}
	return html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(found[1], ""))
}

// mustSay fails for each of the words that a page does not say.
func mustSay(tb testing.TB, page string, words ...string) {
	tb.Helper()
	for _, w := range words {
		if !strings.Contains(text(page), w) {
			tb.Errorf("the page does not say %q: %s", w, text(page))
		}
	}
}

func TestOrderPageSaysAllThatIsInTheModel(t *testing.T) {
	t.Parallel()
	page := mustShow(t, filled(t, mustModel(t, "b563feb7b2b84b6test")), http.StatusOK, "/orders/b563feb7b2b84b6test")
	mustSay(t, page,
		"b563feb7b2b84b6test", "Amount1,817 USD", "26 Nov 2021, 06:22:19 UTC", "WBILMTESTTRACK", "1 item, status 202",
		"Test Testov", "Ploshad Mira 15", "2639809 Kiryat Mozkin", "Kraiot", "+9720000000", "test@gmail.com", "meest",
		"Goods317 USD", "Delivery1,500 USD", "Customs fee0 USD", "26 Nov 2021, 06:22:07 UTC", "wbpay", "alpha", "Request—empty",
		"Mascaras", "Vivienne Sabo", "nm 2389212", "chrt 9934930", "rid ab4219087a764ae0btest", "453", "30%", "Sum of the items 317",
		"Customertest", "EntryWBIL", "Localeen", "Shard key9", "SM id99", "OOF shard1", "Internal signature—empty",
		`"order_uid": "b563feb7b2b84b6test",`)
	for _, markup := range []string{
		`<title>Order b563feb7b2b84b6test · Orderbox</title>`,
		`<time datetime="2021-11-26T06:22:19Z" title="2021-11-26T06:22:19Z">`,
		`href="/api/v1/orders/b563feb7b2b84b6test"`,
	} {
		if !strings.Contains(page, markup) {
			t.Errorf("the page lacks %s", markup)
		}
	}
	if strings.Contains(page, `class="note"`) {
		t.Error("something is said to differ")
	}
}

func TestMarkupInAnyFieldIsText(t *testing.T) {
	t.Parallel()
	const markup = `"'><script>alert(1)</script>{{.}}`
	var o orderbox.Order
	setStrings(reflect.ValueOf(&o).Elem(), markup)
	o.OrderUID = markup
	s := filled(t, o)
	for path, status := range map[string]int{"/": 200, orderLink(markup): 200, orderLink(markup + "?"): 404} {
		page := string(body(t, status, get(t, s, path)))
		if strings.Contains(page, "<script>") || strings.Contains(page, `"'>`) {
			t.Errorf("%s has the markup as it is: %s", path, page)
		}
		mustSay(t, page, markup)
	}
}

// setStrings sets every string in v, and puts one element into every slice.
func setStrings(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Struct:
		for _, field := range v.Fields() {
			setStrings(field, text)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		setStrings(v.Index(0), text)
	}
}

// A reader follows the link of the home page; a program, the form.
func TestEveryOrderLinksToItself(t *testing.T) {
	t.Parallel()
	long := string([]rune(strings.Repeat("/%2F?#\u200f\u202e\u0645 ", 8))[:maxUIDLength])
	for _, uid := range []string{"plain", long, ".", "..", "a/../b", " ", "+", "%", "\\", "?a=b&order_uid=c", "Заказ №1", "👩‍👩‍👧", "\u0085"} {
		o := mustModel(t, uid)
		s := filled(t, mustModel(t, "other"), o)
		link := regexp.MustCompile(`<li data-uid="[^"]*">\s*<a href="([^"]*)">`).FindStringSubmatch(mustShow(t, s, http.StatusOK, "/"))
		if link == nil {
			t.Errorf("no link to %q", uid)
			continue
		}
		page := mustShow(t, s, http.StatusOK, html.UnescapeString(link[1]))
		if heading(page) != uid {
			t.Errorf("%s is not the page of %q", link[1], uid)
		}
		if strings.TrimSpace(uid) == "" {
			continue // nothing to search for
		}
		r := get(t, s, "/orders?order_uid="+url.QueryEscape(uid))
		if got := r.Header.Get("Location"); !isDots(uid) && (r.StatusCode != http.StatusSeeOther || got != orderLink(uid)) {
			t.Errorf("the form sends %q to %q with %d", uid, got, r.StatusCode)
		} else if isDots(uid) && r.StatusCode != http.StatusOK {
			t.Errorf("the form answers %q with %d", uid, r.StatusCode)
		}
	}
}

func TestSpacesAroundASearchedIDAreForgiven(t *testing.T) {
	t.Parallel()
	s := filled(t, mustModel(t, "one"), mustModel(t, " two"))
	for searched, want := range map[string]string{"one": "one", "  one\t": "one", " two": " two"} {
		if got := get(t, s, "/orders?order_uid="+url.QueryEscape(searched)).Header.Get("Location"); got != orderLink(want) {
			t.Errorf("%q leads to %q", searched, got)
		}
	}
	if got := get(t, s, "/orders?order_uid=+").Header.Get("Location"); got != "/" {
		t.Errorf("nothing leads to %q", got)
	}
	mustSay(t, mustShow(t, s, http.StatusNotFound, "/orders/one%20"), "It begins or ends with a space")
}

func TestUnknownIDIsSaidKindly(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustProject(t, mustModel(t, "one"))
	s := newRunning(t, p, Options{})
	for _, path := range []string{"/orders/two", "/orders?order_uid=two"} {
		page := mustShow(t, s, http.StatusNotFound, path)
		mustSay(t, page, "No order has this id or track number", "two", "still be on its way", "See the latest orders")
		if !strings.Contains(page, `value="two"`) || !strings.Contains(page, `href="/orders/two"`) {
			t.Errorf("the page does not offer to try again: %s", page)
		}
	}
}

func TestLoadingIsNotUnknown(t *testing.T) {
	t.Parallel()
	s := filled(t, mustModel(t, "one"))
	s.follower.pool = testservers.Open(t, "postgres://nobody@127.0.0.1:1/nothing", 1) // which is not there either
	s.cache().complete.Store(false)
	mustSay(t, mustShow(t, s, http.StatusOK, "/"), "still reading its orders, 1 so far")
	mustSay(t, mustShow(t, s, http.StatusServiceUnavailable, "/orders/two"), "One moment, please", "1 so far")
	mustShow(t, s, http.StatusOK, "/orders/one")
}

func TestSumsThatDifferAreSaid(t *testing.T) {
	t.Parallel()
	o := mustModel(t, "a")
	o.Items = append(o.Items, o.Items[0])
	mustSay(t, mustShow(t, filled(t, o), http.StatusOK, "/orders/a"),
		"Sum of the items 634", "The payment counts 317 USD for the goods, not the sum of the items.")
	o = mustModel(t, "a")
	o.Payment.Amount++
	mustSay(t, mustShow(t, filled(t, o), http.StatusOK, "/orders/a"),
		"Goods, delivery and customs fee add up to 1,817 USD, not to the amount.")

	o.Payment.Amount, o.Payment.GoodsTotal, o.Items[0].TotalPrice = math.MaxInt64, math.MaxInt64, math.MaxInt64
	o.Items = append(o.Items, o.Items[0])
	mustSay(t, mustShow(t, filled(t, o), http.StatusOK, "/orders/a"),
		"Sum of the items 18,446,744,073,709,551,614", "add up to 9,223,372,036,854,777,307 USD")
}

func TestSummaryOfItems(t *testing.T) {
	t.Parallel()
	for want, statuses := range map[string][]int64{
		"1 item, status 202":                            {202},
		"2 items, status 202":                           {202, 202},
		"3 items: 2 with status 201, 1 with status 202": {202, 201, 201},
		"4 items, different statuses: 4":                {1, 2, 3, 4},
	} {
		var items []orderbox.Item
		for _, status := range statuses {
			items = append(items, orderbox.Item{Status: status})
		}
		if got := english(t, summary(items)); got != want {
			t.Errorf("%v: %q, want %q", statuses, got, want)
		}
	}
}

func TestInstantIsReadOrShownAsSent(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"2021-11-26T06:22:19Z":          "26 Nov 2021, 06:22:19 UTC",
		"2021-11-26t09:22:19.5+03:00":   "26 Nov 2021, 06:22:19 UTC",
		"2016-12-31T23:59:60Z":          "2016-12-31T23:59:60Z",
		"0001-01-01T00:00:00.123456-00": "0001-01-01T00:00:00.123456-00",
	} {
		got := instant(sent)
		shown := got.Original
		if got.Machine != "" {
			shown = english(t, got.At)
		}
		if shown != want || (got.Machine == "") != (sent == want) {
			t.Errorf("%s: %+v", sent, got)
		}
	}
}

func TestHomeListsTheLatestOrders(t *testing.T) {
	t.Parallel()
	mustSay(t, mustShow(t, filled(t), http.StatusOK, "/"), "No orders yet")
	var orders []orderbox.Order
	for i := range latestOnPage + 1 {
		orders = append(orders, mustModel(t, "order-"+string(rune('a'+i))))
	}
	page := mustShow(t, filled(t, orders...), http.StatusOK, "/")
	mustSay(t, page, "21 in all", "order-u 26 Nov 2021, 06:22:19 UTC 1 item 1,817 USD")
	if strings.Contains(page, "order-a") || strings.Index(page, "order-u") > strings.Index(page, "order-b") {
		t.Error("not the latest, newest first")
	}
}

func TestHomeSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	var messages, gaps int64
	s := idle(t, Options{Missing: func() (int64, int64) { return messages, gaps }})
	if page := mustShow(t, s, http.StatusOK, "/"); strings.Contains(page, "Missing") {
		t.Error("nothing is missing, and the page says so")
	}
	messages, gaps = 1234, 1
	mustSay(t, mustShow(t, s, http.StatusOK, "/"), "Missing: 1,234 messages in 1 gap.")
}

func TestLargeOrderIsShownWithoutItsJSON(t *testing.T) {
	t.Parallel()
	o := mustModel(t, "a")
	for range 999 {
		o.Items = append(o.Items, o.Items[0])
	}
	o.Items[0].Name = strings.Repeat("x", maxInlineJSON)
	page := mustShow(t, filled(t, o), http.StatusOK, "/orders/a")
	mustSay(t, page, "1,000 items, status 202")
	if strings.Contains(page, "<details") || !strings.Contains(page, `href="/api/v1/orders/a"`) {
		t.Error("the JSON is in the page, or no link to it")
	}
}

func TestUnchangedPageIsNotSentAgain(t *testing.T) {
	t.Parallel()
	s := filled(t, mustModel(t, "a"))
	for _, path := range []string{"/", "/orders/a"} {
		etag := get(t, s, path).Header.Get("ETag")
		if b := body(t, http.StatusNotModified, get(t, s, path, "If-None-Match", etag)); len(b) > 0 {
			t.Errorf("%s was sent again", path)
		}
	}
	before := get(t, s, "/").Header.Get("ETag")
	o := mustModel(t, "b")
	s.cache().add(2, o.OrderUID, o.JSON())
	body(t, http.StatusOK, get(t, s, "/", "If-None-Match", before))
}

func TestAssetsOfAPageAreKeptForEver(t *testing.T) {
	t.Parallel()
	s := filled(t)
	kinds := map[string]string{"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
	found := regexp.MustCompile(`"(/assets/[^"]*\.([a-z]+))"`).FindAllStringSubmatch(mustShow(t, s, http.StatusOK, "/"), -1)
	if len(found) < len(kinds) {
		t.Fatalf("the page loads only %v", found)
	}
	for _, match := range found {
		r := get(t, s, match[1])
		body(t, http.StatusOK, r)
		if r.Header.Get("Content-Type") != kinds[match[2]] || !strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s is sent with %v", match[1], r.Header)
		}
	}
	mustShow(t, s, http.StatusNotFound, "/assets/app.0000000000000000.css")
}

func TestPageThatCannotBeShownIsReplaced(t *testing.T) {
	t.Parallel()
	s := filled(t)
	s.cache().add(1, "broken", []byte(`{"order_uid":`))
	mustSay(t, mustShow(t, s, http.StatusInternalServerError, "/orders/broken"), "Something went wrong here")

	s.site = new(static.Site) // without any page, not even the one for errors
	mustShow(t, s, http.StatusInternalServerError, "/")
}
