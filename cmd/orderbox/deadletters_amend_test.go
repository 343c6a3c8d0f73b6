package main

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"orderbox/internal/testservers"
)

// What one patch amends is entered into the log beside its original, with everything else as it was spelt, white
// space aside, and served as the orders that it should have been.
func TestManyAreAmendedByAPatch(t *testing.T) {
	t.Parallel()
	f := mustFlow(t, testservers.Broker(t))
	var originals, amended [][]byte
	for i := range 3 {
		original := bytes.TrimSpace(spelt(t, fmt.Sprint("patched-", i), "payment.amount", `"1817"`))
		original = bytes.Replace(original, []byte("{"), []byte("{\"kept\":1.50,"), 1)
		originals = append(originals, original)
		amended = append(amended, bytes.Replace(original, []byte(`"1817"`), []byte(`1817`), 1))
	}
	f.publish(append(originals, spelt(t, "other", "payment.amount", `"free"`), []byte("{"))...)
	f.await(5)
	before := f.fates("order by i.position")
	const patch = `[{"op": "test", "path": "/payment/amount", "value": "1817"}, {"op": "replace", "path": "/payment/amount", "value": 1817}]`
	amend := func(code int, more ...string) (out, errs string) {
		t.Helper()
		args := []string{"dead-letters", "amend", "--place", "/payment/amount", "--patch", patch, "--url", f.url, "--operator-token", flowToken}
		return mustRun(t, code, append(args, more...)...)
	}

	out, _ := amend(0)
	mustSay(t, out, "3 dead letters would be amended, 1 left out (to 1 the patch does not apply); the schema in force lets 3 through\n")
	amend(1, "--yes", "--expect", "4")
	if now := f.fates("order by i.position"); len(now) != len(before) {
		t.Fatalf("the log had %d messages and has %d, though nothing was to be done", len(before), len(now))
	}
	out, _ = amend(0, "--yes", "--expect", "3", "--note", "roubles")
	mustSay(t, out, "3 dead letters amended, 1 left out (to 1 the patch does not apply)\n", "the filter now finds 1 open\n")

	f.await(8)
	after := f.fates("order by i.position")
	for i, original := range before {
		if !bytes.Equal(after[i].Payload, original.Payload) || after[i].Verdict != original.Verdict {
			t.Errorf("message %d was %s %s and is %s %s", original.Position, original.Verdict, original.Payload, after[i].Verdict, after[i].Payload)
		}
	}
	for i, entry := range after[len(before):] {
		uid := fmt.Sprint("patched-", i)
		if !bytes.Equal(entry.Payload, amended[i]) || entry.UID != uid {
			t.Errorf("amended is %s, %q; want %s", entry.Payload, entry.UID, amended[i])
		}
		answer, body := f.ask(http.MethodGet, "/api/v1/orders/"+uid)
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", uid, answer.StatusCode, body)
		}
		mustHold(t, amended[i], body)
		out, _ := mustRun(t, 0, "dead-letters", "show", fmt.Sprint(before[i].Position), "--url", f.url, "--operator-token", flowToken)
		mustSay(t, out, "resolved", "amend by ann", "roubles", "it became order "+uid)
	}
	if answer, _ := f.ask(http.MethodGet, "/api/v1/orders/other"); answer.StatusCode != http.StatusNotFound {
		t.Errorf("what was left out is answered with %d", answer.StatusCode)
	}
	out, _ = amend(0, "--yes")
	mustSay(t, out, "0 dead letters amended, 1 left out")
	mustCheck(t, f.db.ReaderURL)
}
