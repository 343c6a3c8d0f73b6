package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"orderbox/internal/testservers"
	"orderbox/publisher"
)

// padded is rubbish, or an order that carries a field nobody knows, of so many bytes.
func padded(tb testing.TB, n int, order bool) []byte {
	tb.Helper()
	if !order {
		return bytes.Repeat([]byte("я\x00"), n/3+1)[:n]
	}
	bare := mustOrder(tb, "order_uid", fmt.Sprint("size ", n), "padding", "")
	return mustOrder(tb, "order_uid", fmt.Sprint("size ", n), "padding", strings.Repeat("x", n-len(bare)))
}

// mustKeep publishes messages and looks at each wherever it is to be had.
func (f *flow) mustKeep(sizes []int) {
	f.Helper()
	var all []rubbish
	var payloads [][]byte
	for _, n := range sizes {
		all = append(all, rubbish{name: fmt.Sprint(n, " bytes of rubbish"), payload: padded(f, n, false)})
		if n > 2000 {
			all = append(all, rubbish{name: fmt.Sprint(n, " bytes of an order"), payload: padded(f, n, true), verdict: "order"})
		}
	}
	for _, r := range all {
		payloads = append(payloads, r.payload)
	}
	f.publish(payloads...)
	f.await(len(all))
	for i, got := range f.fates("order by i.position") {
		if !bytes.Equal(got.Payload, all[i].payload) || got.Fates != 1 || (got.Verdict == "order") != (all[i].verdict == "order") {
			f.Errorf("%s: %d bytes in the log, %s", all[i].name, len(got.Payload), got.Verdict)
		}
		f.mustShow(all[i], got)
		if got.UID != "" {
			if answer, page := f.ask(http.MethodGet, "/orders/"+url.PathEscape(got.UID)); answer.StatusCode != http.StatusOK || len(page) > 100_000 {
				f.Errorf("%s: a page of %d bytes, %d", all[i].name, len(page), answer.StatusCode)
			}
		}
	}
	mustCheck(f, f.db.ReaderURL)
}

func TestMessagesOfEverySizeThatTheBrokerTakes(t *testing.T) {
	t.Parallel()
	f := mustFlow(t, testservers.Broker(t))
	largest := f.largest(1 << 20)
	sizes := []int{0, 1, 2, 3, 1 << 10, 8<<10 - 1, 8 << 10, 8<<10 + 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 256 << 10, 256<<10 + 1, largest}
	f.mustKeep(sizes)
}

// largest returns the size of the largest message that the broker takes, which is what NATS takes without what
// STAN puts around it.
func (f *flow) largest(limit int) int {
	f.Helper()
	skipped := 0
	p, err := publisher.New(publisher.Options{URL: f.broker.URL, Cluster: f.broker.Cluster, Channel: f.channel + ".other",
		Skipped: func(int64, error) { skipped++ }})
	if err != nil {
		f.Fatal(err)
	}
	const around = 300
	result, err := p.Publish(f.Context(), func(yield func([]byte, error) bool) {
		for n := limit; n > limit-around && yield(make([]byte, n), nil); n-- {
		}
	})
	if err != nil || skipped == 0 || result.Confirmed == 0 {
		f.Fatalf("of messages around the limit %d are taken, %v", result.Confirmed, err)
	}
	return limit - skipped
}
