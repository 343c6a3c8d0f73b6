package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"orderbox/internal/testservers"
)

// A customer's order is found by what one has of it, without the page being loaded anew, and new ones arrive.
func TestLookupInABrowser(t *testing.T) {
	t.Parallel()
	f := mustFlow(t, testservers.Broker(t))
	f.publish(mustOrder(t, "order_uid", "first", "track_number", "SHARED"), mustOrder(t, "order_uid", "second", "track_number", "SHARED"),
		mustOrder(t, "order_uid", "third", "track_number", "OWN"))
	f.await(3)
	b := mustBrowser(t, f.url)
	b.open("/")
	ask(b, "mark the page", chromedp.Evaluate[bool]("window.same = true"))
	search := func(text string, then chromedp.CSS) {
		ask(b, "empty the field", chromedp.Evaluate[any](`document.getElementById("order_uid").value = ""`))
		b.fill("#order_uid", text+"\n")
		b.do("wait", chromedp.WaitVisible(then))
	}
	search("first", "#uid")
	b.mustSee("#uid", "first")
	b.mustBeAt("/orders/first")
	search("OWN", "#uid")
	b.await("the order of a track number", `document.getElementById("uid")?.textContent === "third"`)
	search("SHARED", "#tracks")
	b.mustSee("#tracks", "first", "second")
	b.click(`#tracks a[href="/orders/second"]`, "#uid")
	b.mustSee("#uid", "second")
	b.picture("lookup-order")
	search("nobody's", ".hints")
	b.mustSee("main", "No order has this id or track number", "nobody's")
	b.picture("lookup-unknown")
	ask(b, "go back", chromedp.Evaluate[any]("history.back()"))
	b.await("the page before", `document.getElementById("uid")?.textContent === "second"`)
	if !ask(b, "look for the mark", chromedp.Evaluate[bool]("window.same === true")) {
		t.Error("the page was loaded anew")
	}

	b.click(".brand", "#latest")
	b.await("the events", `document.querySelector("#live.on")`)
	f.publish(mustOrder(t, "order_uid", "just-now"))
	b.await("the new order", `document.querySelector("#latest li")?.dataset.uid === "just-now"`)
	b.mustSee("#count", "4")
	b.picture("lookup-home")
	b.mustBeFlawless("404")
}

// mustBeAt fails unless the address is that.
func (b *browser) mustBeAt(path string) {
	b.Helper()
	if at := ask(b, "read the address", chromedp.Evaluate[string]("location.pathname + location.search")); at != path {
		b.Errorf("the address is %s, not %s", at, path)
	}
}

// await returns when an expression becomes true in the page. It fails while another page is being loaded.
func (b *browser) await(what, expression string) {
	b.Helper()
	testservers.Eventually(b, what, func() bool {
		is, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](fmt.Sprintf("Boolean(%s)", expression)))
		return err == nil && is
	})
}

// mustBeFlawless fails for each fault of a page that has none of these texts.
func (b *browser) mustBeFlawless(but ...string) {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, fault := range b.faults {
		if !slices.ContainsFunc(but, func(text string) bool { return strings.Contains(fault, text) }) {
			b.Error(fault)
		}
	}
}

// Somebody who uses no mouse finds an order, chooses Russian and a dark page, and sees how the service is.
func TestKeyboardAloneInABrowser(t *testing.T) {
	t.Parallel()
	const markup = `<img src=x onerror=alert(1)>`
	f := mustFlow(t, testservers.Broker(t))
	f.publish(mustOrder(t, "order_uid", markup, "track_number", markup, "customer_id", markup, "delivery.name", markup, "delivery.city", markup,
		"payment.transaction", markup, "payment.goods_total", 316, "payment.currency", "RUB"), []byte("rubbish"))
	f.await(2)
	b := mustBrowser(t, f.url)
	press := func(keys string) { b.do("press "+keys, chromedp.KeyEvent(keys)) }
	tabTo := func(selector string) {
		b.Helper()
		for range 60 {
			if ask(b, "look for the focus", chromedp.Evaluate[bool](fmt.Sprintf("document.activeElement.matches(%q)", selector))) {
				return
			}
			press("\t")
		}
		t.Fatalf("the focus does not come to %s", selector)
	}
	b.open("/")
	tabTo("#latest a")
	press("\r")
	b.await("the order", `document.getElementById("uid")?.textContent === "`+markup+`"`)
	b.mustSee("main", "not the sum of the items")
	if n := b.count("main img"); n != 0 {
		t.Errorf("%d pictures are of the order", n)
	}
	press("/")
	b.await("the search field", `document.activeElement.id === "order_uid"`)
	tabTo(`[name=language][value=ru]`)
	press("\r")
	b.await("Russian", `document.documentElement.lang === "ru"`)
	b.mustSee("main", "это не сумма по товарам")
	tabTo(`[name=theme][value=dark]`)
	press("\r")
	b.await("a dark page", `document.documentElement.dataset.theme === "dark" && getComputedStyle(document.body).backgroundColor === "rgb(16, 21, 20)"`)
	b.picture("russian-order")
	tabTo(`.foot a[href="/status"]`)
	press("\r")
	b.await("the status", `document.getElementById("status")`)
	b.mustSee("#status", "Всё в порядке", "Отклонённые сообщения", "generation_1")
	b.await("the charts", `document.querySelector("[data-chart=received] .line").getAttribute("d").includes("L")`)
	b.picture("russian-status")
	for _, path := range []string{"/", "/login", "/nowhere"} {
		b.open(path)
		b.picture("russian-" + strings.Trim(path, "/"))
	}
	b.mustBeFlawless("404")
}
