package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"

	"orderbox/internal/testservers"
	"orderbox/publisher"
)

// document keeps a picture of what the window shows for the documents, with -update.
func (b *browser) document(name string) {
	b.Helper()
	if !*update {
		return
	}
	png := ask(b, "draw "+name, chromedp.CaptureScreenshot())
	if err := os.WriteFile(filepath.Join("..", "..", "docs", name+".png"), png, 0o644); err != nil {
		b.Fatal(err)
	}
}

// What the documents show, and the operator's pages in Russian, whose words are longer.
func TestPagesWithOrdersOfAllKindsInABrowser(t *testing.T) {
	t.Parallel()
	f := mustFlow(t, testservers.Broker(t))
	payloads, uids := generated(7, 200)
	payloads = slices.Insert(payloads, 0, []byte(`{"order_uid": "cut`))
	f.publish(append(payloads, publisher.Model)...)
	f.await(len(payloads) + 1)
	b := mustBrowser(t, f.url)
	b.do("take a smaller window", chromedp.EmulateViewport(1120, 760))
	b.open("/")
	b.await("the events", `document.querySelector("#live.on")`)
	b.document("lookup")
	b.open("/orders/" + uids[len(uids)-2])
	b.document("page")
	b.open("/status")
	b.await("the charts", `document.querySelector("[data-chart=received] .line").getAttribute("d").includes("L")`)
	f.publish(mustOrder(t, "order_uid", "one-more"))
	b.await("the next message", `document.querySelector("[data-rate=received]").textContent.startsWith("1 ")`)
	b.document("status")

	b.open("/dead-letters")
	b.fill("#token", flowToken)
	b.click("form.fields button", ".letters li")
	b.click(`[name=language][value=ru]`, `html[lang=ru] .letters li`)
	b.picture("russian-letters")
	b.click(".letters li:last-child a", ".payload")
	b.mustSee("main", "Отклонённое сообщение", "Что не так", "Исправить")
	b.picture("russian-letter")
	b.open("/replay")
	b.mustSee("main", "Повторная обработка", "Проба")
	b.picture("russian-replay")
	b.open("/dead-letters/discard")
	b.mustSee("#preview", "Будут списаны:")
	b.picture("russian-discard")
	b.open("/orders/" + uids[0])
	b.click(".raw:has(.payload) summary", ".payload")
	b.mustSee("article", "Откуда это?", "Опубликовано", "Получено", "сообщение")
	b.picture("russian-source")
	b.mustBeFlawless("401")
}
