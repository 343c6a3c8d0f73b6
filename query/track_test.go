package query

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"orderbox/internal/testservers"
)

func TestSearchFindsTrackNumbers(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	for _, uid := range []string{"one", "two", "three"} {
		o := mustModel(t, uid)
		if o.TrackNumber = "SHARED"; uid == "three" {
			o.TrackNumber = "OWN"
		}
		p.mustProject(t, o)
	}
	o := mustModel(t, "SHARED-AS-WELL")
	o.TrackNumber = "three" // which is another order's id
	p.mustProject(t, o)
	s := newRunning(t, p, Options{})
	search := func(text string) *http.Response { return get(t, s, "/orders?order_uid="+url.QueryEscape(text)) }

	for text, want := range map[string]string{"OWN": "/orders/three", " OWN ": "/orders/three", "three": "/orders/three"} {
		if r := search(text); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != want {
			t.Errorf("%q leads to %q with %d", text, r.Header.Get("Location"), r.StatusCode)
		}
	}
	page := string(body(t, http.StatusOK, search("SHARED")))
	mustSay(t, page, "SHARED", "one", "two", "1,817 USD")
	if strings.Index(page, `"/orders/two"`) > strings.Index(page, `"/orders/one"`) || strings.Contains(page, `"/orders/three"`) {
		t.Errorf("not the latest first, or more than those: %s", page)
	}
	mustSay(t, string(body(t, http.StatusNotFound, search("NOBODYS"))), "No order has this id or track number")
	body(t, http.StatusNotFound, get(t, s, "/orders/OWN")) // a link is to one order

	mustAllowConnections(t, testservers.Open(t, p.AdminURL, 1).Config().ConnConfig, false)
	mustSay(t, string(body(t, http.StatusServiceUnavailable, search("OWN"))), "No order has this id. Whether it is a track number is not known")
	body(t, http.StatusSeeOther, search("three"))
	mustAllowConnections(t, testservers.Open(t, p.AdminURL, 1).Config().ConnConfig, true)
}

func TestManyOrdersOfATrackNumberAreCut(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	for i := range tracksOnPage + 1 {
		p.mustProject(t, mustModel(t, "order-"+string(rune('A'+i))))
	}
	page := mustShow(t, newRunning(t, p, Options{}), http.StatusOK, "/orders?order_uid=WBILMTESTTRACK")
	mustSay(t, page, "Many orders have it.")
	if n := strings.Count(page, "<li data-uid="); n != tracksOnPage {
		t.Errorf("%d are listed", n)
	}
}
