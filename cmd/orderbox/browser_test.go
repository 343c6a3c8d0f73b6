package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"orderbox/internal/testservers"
	"orderbox/publisher"
)

// browserEnv says what a machine without a browser means: "required" is a failure, anything else a skip.
const browserEnv = "ORDERBOX_TEST_BROWSER"

// browserPatience is for a film; tests take seconds.
const browserPatience = 10 * time.Minute

// browser is a Chromium with one tab.
type browser struct {
	testing.TB
	ctx  context.Context
	base string // of the service

	mu     sync.Mutex
	faults []string // what the tab complained about, or ran that it should not
}

// mustBrowser starts a browser, which ends with the test.
func mustBrowser(tb testing.TB, base string) *browser {
	tb.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" {
		if os.Getenv(browserEnv) == "required" {
			tb.Fatal("no chromium is on the PATH; try: apt-get install chromium")
		}
		tb.Skip("no chromium is on the PATH: what the pages do in a browser is not tested; try: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(testservers.Dir(tb)))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it refuses root otherwise
	}
	// The test's own context ends before its cleanups run, and with it the browser could not end well.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), browserPatience)
	tb.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	tb.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	tb.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			tb.Errorf("end the browser: %v", err)
		}
		cancel()
	})
	b := &browser{TB: tb, ctx: ctx, base: base}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		tb.Fatal(err)
	}
	b.do("set the window's size", chromedp.EmulateViewport(1280, 900))
	return b
}

// note keeps what a page that is as it should be never causes.
func (b *browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *page.EventJavascriptDialogOpening:
		b.faults = append(b.faults, "dialog: "+e.Message)
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, "exception: "+e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		b.faults = append(b.faults, fmt.Sprintf("%s: %s (%s)", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	}
}

func (b *browser) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ask(b, what, chromedp.Steps(steps...))
}

// ask returns what an action gives.
func ask[T any](b *browser, what string, action chromedp.Action[T]) T {
	b.Helper()
	value, err := chromedp.Run(b.ctx, action)
	if err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body.innerText"))
		b.Fatalf("%s: %v; the page says %s", what, err, text)
	}
	return value
}

// open goes to a path of the service.
func (b *browser) open(path string) {
	b.Helper()
	b.do("open "+path, chromedp.Navigate(b.base+path))
}

// click clicks what a selector finds, and waits for what another one finds on the page that comes then.
func (b *browser) click(selector, then chromedp.CSS) {
	b.Helper()
	b.do(fmt.Sprintf("click %s for %s", selector, then), chromedp.Click(selector), chromedp.WaitVisible(then))
}

// fill types a text into a field.
func (b *browser) fill(field chromedp.CSS, text string) {
	b.Helper()
	b.do(fmt.Sprintf("fill %s", field), chromedp.SendKeys(field, text))
}

// mustSee fails for each text that an element does not show.
func (b *browser) mustSee(selector chromedp.CSS, texts ...string) {
	b.Helper()
	shown := ask(b, fmt.Sprintf("read %s", selector), chromedp.Text(selector))
	for _, text := range texts {
		if !strings.Contains(shown, text) {
			b.Errorf("%s does not show %q: %s", selector, text, shown)
		}
	}
}

// count returns how many elements a selector finds.
func (b *browser) count(selector string) int {
	b.Helper()
	return ask(b, "count "+selector, chromedp.Evaluate[int](fmt.Sprintf("document.querySelectorAll(%q).length", selector)))
}

// scheme has the page shown light or dark.
func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
		return err
	})
}

// cutTimesJS names the fields for times of which a part is out of sight.
const cutTimesJS = `Array.from(document.querySelectorAll("[type=datetime-local]")).filter((field) => {
	const has = field.offsetWidth;
	field.style.width = "max-content";
	const wants = field.offsetWidth;
	field.style.width = "";
	return wants > has;
}).map((field) => field.id)`

// picture keeps pictures of the page, light, dark and as on a phone, for who runs the test with -artifacts.
// On none of them may anything be wider than the window, a time be cut off, or anything be an obstacle.
func (b *browser) picture(name string) {
	b.Helper()
	for _, how := range []struct {
		name, scheme string
		width        int64
	}{{"light", "light", 1280}, {"dark", "dark", 1280}, {"phone", "light", 360}} {
		b.do("draw "+name, chromedp.EmulateViewport(how.width, 900), scheme(how.scheme))
		wide := ask(b, "measure "+name, chromedp.Evaluate[int64]("document.documentElement.scrollWidth"))
		cut := ask(b, "measure the fields of "+name, chromedp.Evaluate[[]string](cutTimesJS))
		b.mustBeAccessible(name + ", " + how.name)
		png := ask(b, "keep "+name, chromedp.FullScreenshot(100))
		if wide > how.width || len(cut) > 0 {
			b.Errorf("%s, %s: %d pixels are needed, and more in %q", name, how.name, wide, cut)
		}
		if err := os.WriteFile(filepath.Join(b.ArtifactDir(), name+"-"+how.name+".png"), png, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.do("go back to the first size", chromedp.EmulateViewport(1280, 900), scheme("light"))
}

// mustOrder is the reference order as JSON, with other values: name and value in turn, a name of two parts
// such as payment.amount.
func mustOrder(tb testing.TB, values ...any) []byte {
	tb.Helper()
	var order map[string]any
	if err := json.Unmarshal(publisher.Model, &order); err != nil {
		tb.Fatal(err)
	}
	for i := 0; i < len(values); i += 2 {
		into, name, inner := order, values[i].(string), ""
		if name, inner, _ = strings.Cut(name, "."); inner != "" {
			into, name = order[name].(map[string]any), inner
		}
		into[name] = values[i+1]
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(order); err != nil {
		tb.Fatal(err)
	}
	return text.Bytes()
}

// An operator's day: what a sender got wrong becomes an order, and the rest is decided about.
func TestOperatorMendsADeadLetterInABrowser(t *testing.T) {
	t.Parallel()
	const markup = `<script>alert(1)</script><img src=x onerror=alert(2)>`
	dir := testservers.Dir(t)
	mustProgram(t, nil, "up", "--empty", "--data", dir, "--listen", "127.0.0.1:0")
	env := mustEnv(t, dir)
	b := mustBrowser(t, env["ORDERBOX_URL"])
	publish := func(payloads ...[]byte) {
		mustPublish(t, env["ORDERBOX_NATS_URL"], env["ORDERBOX_STAN_CLUSTER"], env["ORDERBOX_CHANNEL"], 0, payloads...)
	}
	long := strings.Repeat("long", 40) // and nowhere to break it
	publish([]byte("\xff\x00\x01not an order at all"), []byte(`{"order_uid": "cut", "track`), fmt.Appendf(nil, `{"%s": 1, "%[1]s": 2}`, long))
	for i := range 3 {
		publish(mustOrder(t, "order_uid", fmt.Sprint("dear-", i), "payment.amount", -1, "customer_id", long))
	}
	publish(mustOrder(t, "order_uid", "mended", "payment.amount", "free", "delivery.name", markup, "customer_id", nil))
	testservers.Eventually(t, "all are refused", func() bool {
		_, text := get(t, env["ORDERBOX_URL"]+"/api/v1/stats", "")
		return strings.Contains(text, `"dead_letters":7`)
	})

	b.open("/dead-letters?state=open")
	b.fill("#token", "wrong")
	b.click("form.fields button", "#failed")
	b.picture("login")
	b.fill("#token", env["ORDERBOX_OPERATOR_TOKEN"])
	b.click("form.fields button", ".groups")
	b.mustSee(".groups", "4 fail at /payment/amount invalid", "3 fail as a whole malformed")
	b.picture("list")

	b.click(`.groups a[href*="amount"]`, ".groups [aria-current]")
	if n := b.count(".letters li"); n != 4 {
		t.Errorf("%d dead letters fail at the amount", n)
	}
	b.click(".letters li a", ".payload")
	b.mustSee(".payload", markup)
	b.mustSee(".payload mark", "null")
	b.mustSee(".violations", "/payment/amount", "/customer_id")
	if n := b.count("main img, main script"); n != 0 {
		t.Errorf("%d elements of the payload are in the page", n)
	}
	b.picture("letter")

	mend(b, mustOrder(t, "order_uid", "mended", "payment.amount", 18.5, "delivery.name", markup))
	b.mustSee(".note.good", "Amended, and refused again.")
	mend(b, mustOrder(t, "order_uid", "mended", "delivery.name", markup))
	b.mustSee(".note.good", "it made an order")
	b.mustSee(".history", "Amended by operator", "refused again", "It made an order: mended")
	b.picture("mended")
	if n := b.count("main .actions"); n != 0 {
		t.Error("more can be decided about what is resolved")
	}
	b.click(`.history a[href="/orders/mended"]`, ".head #uid")
	b.mustSee("article", "mended", markup)
	b.picture("order")

	b.open("/dead-letters?reason=malformed")
	b.click(".letters li:last-child a", ".payload.Bytes")
	b.mustSee(".payload", "ff 00 01")
	b.picture("bytes")
	b.fill("#discard-note", "a test of ours")
	b.click(".noted button", ".tag.discarded")
	b.mustSee(".history", "Discarded by operator", "a test of ours")
	b.click(`.actions [action$="/reopen"] button`, ".tag.open")
	b.mustSee(".history", "Reopened by operator")
	b.fill("#discard-note", "after all")
	b.click(".noted button", ".tag.discarded")

	b.open("/dead-letters?reason=malformed&text=" + long)
	b.mustSee(".letters", "/"+long)
	b.picture("long-list")
	b.click(".letters li a", ".violations")
	b.picture("long-letter")

	b.open("/dead-letters?reason=invalid&text=" + long)
	b.click(`button[formaction="/dead-letters/amend"]`, "#patch")
	b.picture("patch")
	b.do("type a patch", chromedp.SetValue(chromedp.CSS("#patch"), fmt.Sprintf(`[{"op": "add", "path": "/%s", "value": "%[1]s"}]`, long)))
	b.click(`button[value="preview"]`, "#preview")
	b.mustSee("#preview", "3 dead letters would be amended")
	b.mustSee("pre", long)
	b.picture("patched")

	b.open("/dead-letters?reason=invalid")
	b.click(`button[formaction="/dead-letters/retry"]`, "#preview")
	b.mustSee("#preview", "3 dead letters would be judged once more.")
	b.picture("preview")
	b.click("form.fields button", ".head .note.good")
	b.mustSee(".head .note.good", "Retried: 3.")
	b.picture("retried")
	b.click(".operator button", ".hero")
	if n := b.count(".operator"); n != 0 {
		t.Error("still logged in")
	}

	b.mustBeFlawless("401") // the wrong token
}

// mend replaces the message by another one.
func mend(b *browser, order []byte) {
	b.Helper()
	b.do("type an amendment", chromedp.SetValue(chromedp.CSS("#amended"), string(order)))
	b.fill("#amend-note", "seen by us")
	ask(b, "forget what was said", chromedp.Evaluate[any](`document.querySelector(".note.good")?.remove()`))
	b.click("#amend button", ".note.good")
}
