package main

import (
	"bytes"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"orderbox/internal/testservers"
)

// awkwardIDs are those that something on the way of a request would like to understand.
var awkwardIDs = []string{
	".", "..", "...", "a/../b", "../../etc/passwd", "/", "//", "a/b", "/a/", "%", "%2F", "%2e%2e", ".%2E", "%zz", "%00", "a%20b",
	" ", " leading", "trailing ", "two words", "+", "a+b", "?", "a?order_uid=b", "#", "a#b", "&order_uid=b", "a&b=c", ";", "a;b", "..;", `\`, `..\..`,
	`"`, `'`, "<b>", "&amp;", "</title>", "{{.}}", "{order_uid}", "latest", "orders", "source", "a/source", "api/v1/orders", "null", "undefined", "-1", "0",
	"ё", "Заказ №1", "👩‍👩‍👧", "e\u0301", "\u0301", "é", "\u202eabc", "\u200f", "\u200b", "\ufeff", "\u2028", "שלום", "\u0085",
	"\t", "\n", "a\nb", "\r", "a\rb", "a\r\nb", "\x1b[2J", "\x01", "\x7f", "\u009b31m", "\uffff", strings.Repeat("ж", 64), strings.Repeat("/", 64), strings.Repeat("👩", 64), strings.Repeat("%", 64),
}

// Whatever an order is called it can be looked up: by a program in both ways, by the link of the lists, and
// with the form.
func TestEveryOrderIsReachableWhateverItIsCalled(t *testing.T) {
	t.Parallel()
	f := mustFlow(t, testservers.Broker(t))
	b := mustBrowser(t, f.url)
	sent := 0
	for uids := range slices.Chunk(awkwardIDs, 20) { // as many as the home page lists
		var payloads [][]byte
		for _, uid := range uids {
			payloads = append(payloads, mustOrder(t, "order_uid", uid))
		}
		f.publish(payloads...)
		sent += len(uids)
		f.await(sent)
		links := f.links()
		for i, uid := range uids {
			link, ok := links[uid]
			if !ok {
				t.Errorf("%q is not on the home page", uid)
				continue
			}
			f.mustServe(uid, payloads[i], "/api/v1/orders/"+url.PathEscape(uid))
			f.mustServe(uid, payloads[i], "/api/v1/orders?order_uid="+url.QueryEscape(uid))
			f.mustBePage(uid, link)
			f.mustFind(uid)
		}
		mustFollow(b, uids)
	}
}

// tags are the markup of a page.
var tags = regexp.MustCompile(`<[^>]*>`)

var listed = regexp.MustCompile(`<li data-uid="([^"]*)">\s*<a href="([^"]*)">`)

// links are the addresses that the home page gives, by order_uid.
func (f *flow) links() map[string]string {
	f.Helper()
	_, page := f.ask(http.MethodGet, "/")
	links := map[string]string{}
	for _, found := range listed.FindAllStringSubmatch(string(page), -1) {
		links[html.UnescapeString(found[1])] = html.UnescapeString(found[2])
	}
	return links
}

// mustServe asks for an order as a program does, and once more with what it has, and for the head alone.
func (f *flow) mustServe(uid string, payload []byte, path string) {
	f.Helper()
	answer, body := f.ask(http.MethodGet, path)
	if answer.StatusCode != http.StatusOK {
		f.Errorf("%q: %s is answered with %d", uid, path, answer.StatusCode)
		return
	}
	mustHold(f, payload, body)
	etag := answer.Header.Get("ETag")
	if again, rest := f.ask(http.MethodGet, path, "If-None-Match", etag); again.StatusCode != http.StatusNotModified || len(rest) > 0 {
		f.Errorf("%q: %s is sent again, with %d", uid, path, again.StatusCode)
	}
	head, rest := f.ask(http.MethodHead, path)
	if head.StatusCode != http.StatusOK || head.Header.Get("ETag") != etag || head.ContentLength != int64(len(body)) || len(rest) > 0 {
		f.Errorf("%q: the head of %s is %d, %v", uid, path, head.StatusCode, head.Header)
	}
}

// anybody has no token: the page that an operator sees is kept by nobody.
var anybody = []string{"Authorization", ""}

// mustBePage follows a link to an order's page, and from there to its JSON.
func (f *flow) mustBePage(uid, link string) {
	f.Helper()
	answer, page := f.ask(http.MethodGet, link, anybody...)
	heading := regexp.MustCompile(`(?s)<h1 id="uid"><bdi>(.*?)</bdi></h1>`).FindSubmatch(page)
	if answer.StatusCode != http.StatusOK || heading == nil || html.UnescapeString(tags.ReplaceAllString(string(heading[1]), "")) != uid {
		f.Errorf("%q: %s is answered with %d, headed %q", uid, link, answer.StatusCode, heading)
		return
	}
	if again, _ := f.ask(http.MethodGet, link, append(anybody, "If-None-Match", answer.Header.Get("ETag"))...); again.StatusCode != http.StatusNotModified {
		f.Errorf("%q: the page is sent again, with %d", uid, again.StatusCode)
	}
	if head, _ := f.ask(http.MethodHead, link, anybody...); head.StatusCode != http.StatusOK || head.ContentLength != int64(len(page)) {
		f.Errorf("%q: the page's head is %d", uid, head.StatusCode)
	}
	served := regexp.MustCompile(`<a class="quiet" href="([^"]*)">JSON</a>`).FindSubmatch(page)
	if served == nil {
		f.Errorf("%q: no link to the JSON", uid)
		return
	}
	if answer, body := f.ask(http.MethodGet, html.UnescapeString(string(served[1]))); answer.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"order_uid"`)) {
		f.Errorf("%q: %s is answered with %d", uid, served[1], answer.StatusCode)
	}
}

// mustFind searches for an order with the form.
func (f *flow) mustFind(uid string) {
	f.Helper()
	if strings.TrimSpace(uid) == "" {
		return // nothing to search for
	}
	answer, _ := f.ask(http.MethodGet, "/orders?order_uid="+url.QueryEscape(uid))
	if answer.StatusCode == http.StatusSeeOther {
		f.mustBePage(uid, answer.Header.Get("Location"))
	} else if answer.StatusCode != http.StatusOK || uid != "." && uid != ".." {
		f.Errorf("%q: the form is answered with %d", uid, answer.StatusCode)
	}
}

// Controls and what turns the direction are seen on the pages and have no effect there, and who copies has what
// was sent.
func TestControlsAreSeenInABrowser(t *testing.T) {
	t.Parallel()
	const uid = "a\rb\r\nc\x1b\u202e\u009bd\t"
	f := mustFlow(t, testservers.Broker(t))
	f.publish(mustOrder(t, "order_uid", uid, "customer_id", "x\ry"), []byte("{\"a\rb\": \u202e1,\n\t2}"))
	f.await(2)
	b := mustBrowser(t, f.url)
	b.open("/dead-letters")
	b.fill("#token", flowToken)
	b.click("form.fields button", ".letters li")
	b.click(".letters li a", ".payload")
	b.mustSign(".payload", `\r`, "U+202E")
	b.picture("controls-letter")

	b.open("/")
	b.mustSign("#latest a", `\r`, `\r`, `\n`, "U+001B", "U+202E", "U+009B", `\t`)
	b.click("#latest a", "#uid")
	b.mustSign("#uid", `\r`, `\r`, `\n`, "U+001B", "U+202E", "U+009B", `\t`)
	b.mustSign(".facts:not(.head *)", `\r`)
	copied := ask(b, "copy the id", chromedp.Evaluate[string](`new Promise((copied) => {
		navigator.clipboard.writeText = async (text) => copied(text);
		document.querySelector("[data-copy]").click();
	})`, chromedp.EvalAwaitPromise))
	if copied != uid {
		t.Errorf("%q is copied as %q", uid, copied)
	}
	b.picture("controls-order")
}

// mustSign fails unless an element shows these signs of controls, in this order.
func (b *browser) mustSign(selector string, want ...string) {
	b.Helper()
	const signsJS = `Array.from(document.querySelectorAll(%q + " .control"), (control) => {
		const sign = getComputedStyle(control, "::before");
		return control.offsetWidth > 0 && sign.content !== "none" ? JSON.parse(sign.content) : "";
	}).filter((sign) => sign)`
	got := ask(b, "look for controls in "+selector, chromedp.Evaluate[[]string](fmt.Sprintf(signsJS, selector)))
	if !slices.Equal(got, want) {
		b.Errorf("%s shows %q, want %q", selector, got, want)
	}
}

// mustFollow has a browser, which reads addresses in its own way, follow the links of the home page and, from
// there, those to the JSON.
func mustFollow(b *browser, uids []string) {
	b.Helper()
	const followJS = `(async () => {
		const found = [];
		for (const row of document.querySelectorAll("#latest li")) {
			const { href: link, textContent: uid } = row.querySelector("a");
			try {
				const page = new DOMParser().parseFromString(await (await fetch(link)).text(), "text/html");
				const json = new URL(page.querySelector(".title a").getAttribute("href"), location.href);
				found.push([uid, page.getElementById("uid").textContent, (await (await fetch(json)).json()).order_uid]);
			} catch (error) {
				found.push([uid, link, String(error)]);
			}
		}
		return found;
	})()`
	b.open("/")
	seen := map[string]bool{}
	for _, row := range ask(b, "follow the links", chromedp.Evaluate[[][]string](followJS, chromedp.EvalAwaitPromise)) {
		if row[0] != row[1] || row[1] != row[2] {
			b.Errorf("the link of %q leads to the page of %q, and that to the JSON of %q", row[0], row[1], row[2])
		}
		seen[row[2]] = true
	}
	for _, uid := range uids {
		if !seen[uid] {
			b.Errorf("the browser did not come to %q", uid)
		}
	}
}
