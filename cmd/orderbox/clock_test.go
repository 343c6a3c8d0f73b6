package main

import (
	"net/http"
	"regexp"
	"testing"
	"time"

	"orderbox/internal/testservers"
	"orderbox/publisher"
)

// The database's clock jumps by days, and as the database sees it the broker's does: no message is lost, none is refused,
// nothing stands still, and nothing that is counted or measured is negative.
func TestClockJumpsAreNoHardship(t *testing.T) {
	postgres := testservers.OwnPostgresWithClock(t)
	db, broker, channel := postgres.Database(), testservers.Broker(t), testservers.Channel(t)
	admin := mustConnect(t, db.AdminURL)
	_, address := mustServe(t, db, broker, channel)
	order := "http://" + address + "/api/v1/orders/" + modelUID
	mustPublish(t, broker.URL, broker.Cluster, channel, 0, publisher.Model)
	testservers.Eventually(t, "the order appears", func() bool { code, _ := get(t, order, ""); return code == http.StatusOK })

	const day = 24 * time.Hour
	messages, dead := int64(1), int64(0)
	for i, clock := range []time.Duration{day, -day, 0} {
		var payloads [][]byte
		for m := range publisher.Messages(uint64(70+i), 300, 0.1) {
			payloads = append(payloads, m.Payload)
			if m.Verdict != publisher.VerdictOrder && m.Verdict != publisher.VerdictDuplicate {
				dead++
			}
		}
		messages += int64(len(payloads))
		mustPublish(t, broker.URL, broker.Cluster, channel, 0, payloads[:150]...)
		postgres.Jump(clock)
		mustPublish(t, broker.URL, broker.Cluster, channel, 0, payloads[150:]...)
		var off float64
		if err := admin.QueryRow(t.Context(), `select extract(epoch from now())::float8`).Scan(&off); err != nil {
			t.Fatal(err)
		}
		if off -= float64(time.Now().Unix()) + clock.Seconds(); off < -3600 || off > 3600 {
			t.Fatalf("the clock did not jump by %v", clock)
		}
		if code, out, errs := runOrderbox(t.Context(), "replay", "--data", t.TempDir(), "--database-url", db.ServiceURL); code != 0 {
			t.Errorf("a replay with the clock off by %v: exit code %d\n%s%s", clock, code, out, errs)
		}
		report := mustDecide(t, db, messages)
		if report.Received != messages || report.DeadLetters != dead || report.Gaps != 0 || len(report.Epochs) != 1 {
			t.Errorf("with the clock off by %v: %+v; want %d messages, %d dead letters", clock, report, messages, dead)
		}
		if code, body := get(t, order, ""); code != http.StatusOK || body != servedModel(t) {
			t.Errorf("a lookup with the clock off by %v: %d %s", clock, code, body)
		}
		testservers.Eventually(t, "it is ready", func() bool { return askReady(t.Context(), "http://"+address) == nil })
		for _, path := range []string{"/metrics", "/api/v1/stats"} {
			_, text := get(t, "http://"+address+path, "")
			if negative := regexp.MustCompile(`(?m)^orderbox.* -[0-9].*$|:-[0-9]`).FindString(text); text == "" || negative != "" {
				t.Errorf("%s with the clock off by %v: %q", path, clock, negative)
			}
		}
	}
}
