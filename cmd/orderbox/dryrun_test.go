package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"orderbox/internal/testservers"
	"orderbox/internal/verify"
	"orderbox/publisher"
)

// tried is what the service says of a dry run, or of what the last replay changed.
type tried struct {
	State, Problem string
	Result         json.RawMessage
}

// mustAwaitErrand waits until what an operator began on the page has ended, and returns what came of it.
func mustAwaitErrand(tb testing.TB, env map[string]string, what string) (now tried) {
	tb.Helper()
	testservers.Eventually(tb, what+" has ended", func() bool {
		_, text := get(tb, env["ORDERBOX_URL"]+"/api/v1/replay/"+what, env["ORDERBOX_OPERATOR_TOKEN"])
		if err := json.Unmarshal([]byte(text), &now); err != nil {
			tb.Fatalf("%v: %s", err, text)
		}
		return now.State != "running" && now.State != "none"
	})
	return now
}

// What the page says that a schema would change is what the command says, and what then happens: seen by an
// operator who uploads the schema, who retries in waves, and who replays.
func TestAnOperatorTriesASchemaInABrowser(t *testing.T) {
	t.Parallel()
	dir := testservers.Dir(t)
	mustProgram(t, nil, "up", "--empty", "--data", dir, "--listen", "127.0.0.1:0")
	env := mustEnv(t, dir)
	payloads := [][]byte{[]byte("{"), mustOrder(t, "order_uid", "good")}
	for i := range 5 {
		payloads = append(payloads, mustOrder(t, "order_uid", fmt.Sprint("fixed-", i), "payment.amount", "1817"))
	}
	payloads = append(payloads, mustOrder(t, "order_uid", "half", "payment.amount", "18.17"))
	mustPublish(t, env["ORDERBOX_NATS_URL"], env["ORDERBOX_STAN_CLUSTER"], env["ORDERBOX_CHANNEL"], 0, payloads...)
	testservers.Eventually(t, "all are decided", func() bool { b := stats(t, env); return b.Orders == 1 && b.DeadLetters == 7 })
	before := generations(t, env)

	b := mustBrowser(t, env["ORDERBOX_URL"])
	b.open("/replay")
	b.fill("#token", env["ORDERBOX_OPERATOR_TOKEN"])
	b.click("form.fields button", "#dry-run")
	b.picture("replay-idle")
	b.click("#dry-run button", "#tried .outcome")
	b.mustSee("#tried", "Nothing changes: every row is the same")

	schema := mustSchemaWithDecimalStrings(t)
	b.do("choose the schema", chromedp.SetUploadFiles(chromedp.CSS("#schema"), []string{schema}))
	b.click("#dry-run button", "#tried .counts")
	b.mustSee("#tried", "5 appear", "5 are resolved", "1 change", "Order fixed-0 appears, from message 3", "no longer", "/payment/amount", "now")
	b.picture("dry-run")
	shown := mustAwaitErrand(t, env, "dry-run")
	code, out, errs := runOrderbox(t.Context(), "replay", "--dry-run", "--schema", schema, "--json", "--values", "--data", dir)
	var page, command verify.Diff
	for text, into := range map[string]*verify.Diff{string(shown.Result): &page, out: &command} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	page.To, command.To = "", "" // each has a generation of its own
	if says, said := mustJSON(t, page), mustJSON(t, command); code != 0 || says != said || page.Orders.Appear != 5 {
		t.Errorf("the page says\n%s\nthe command exits %d and says\n%s%s", says, code, said, errs)
	}
	if left := generations(t, env); !maps.Equal(left, before) {
		t.Errorf("of generations there were %v, and are %v", before, left)
	}
	rubbish := t.TempDir() + "/rubbish.json"
	if err := os.WriteFile(rubbish, []byte(`{"type": "nonsense"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	b.do("choose rubbish", chromedp.SetUploadFiles(chromedp.CSS("#schema"), []string{rubbish}))
	b.click("#dry-run button", ".hero")
	b.mustSee(".hero", "no JSON Schema", "Back to the replay")
	b.click(`.hero a[href="/replay"]`, "#waves")

	// By the schema in force all are refused again.
	b.fill("#place", "/payment/amount")
	b.click(`#waves button[name="dry_run"]`, "#waved .waves")
	b.mustSee("#waved", "6 open dead letters that fail at /payment/amount would be retried")
	b.fill("#place", "/payment/amount")
	b.click("#waves button:not([name])", "#waved .note")
	b.mustSee("#waved", "It stopped: too many were refused again: 1 of 1")
	b.picture("waves")
	b.fill("#text", `"fixed-3"`)
	b.click(`#waves button[name="dry_run"]`, `#waved:not([data-live="running"], :has(.note)) .waves`) // the page before has a note
	b.mustSee("#waved", `1 open dead letters whose text has "\"fixed-3\"" would be retried`)
	for _, c := range [][]string{{"7", "--since", "24h"}, {"1", "--since", "24h", "--text", `"fixed-3"`}, {"1", "--place", "-"}} {
		out, _ := mustRun(t, 0, append([]string{"replay", "--dead-letters", "--dry-run", "--data", dir}, c[1:]...)...)
		mustSay(t, out, c[0]+" dead letters would be retried")
	}
	out, _ = mustRun(t, 0, "replay", "--dead-letters", "--dry-run", "--data", dir, "--until", "24h")
	mustSay(t, out, "nothing to do")
	b.fill("#place", "/payment/bank")
	b.click("#waves button:not([name])", "#waved strong")
	b.mustSee("#waved", "Nothing was done:")

	b.click(`form[action="/replay/order"] button`, "#changed .outcome")
	b.mustSee("#changed", "What the last replay changed", "Nothing changes: every row is the same")
	b.picture("replayed")
	mustCheck(t, env["ORDERBOX_DATABASE_URL"])
	b.mustBeFlawless("400") // the rubbish
}

// A dry run whose service is killed in the middle is over: the service that comes then says that there is none,
// clears away what is left of it, and begins another one when it is asked to.
func TestADryRunOfAKilledServiceIsBegunAnew(t *testing.T) {
	t.Parallel()
	f := &flow{TB: t, db: testservers.Database(t), broker: testservers.Broker(t), channel: testservers.Channel(t)}
	f.pool = testservers.Open(t, f.db.ReaderURL, 2)
	env := map[string]string{"ORDERBOX_DATABASE_URL": f.db.ServiceURL, "ORDERBOX_OPERATOR_TOKEN": flowToken}
	serve := func() *program {
		p, address := mustServe(t, f.db, f.broker, f.channel, "--operator-token", flowToken)
		f.url = "http://" + address
		env["ORDERBOX_URL"] = f.url
		return p
	}
	p := serve()
	f.publish(publisher.Model, []byte("{"))
	f.await(2)
	before := generations(t, env)

	// Nobody reads the log meanwhile, so it cannot end.
	tx, err := testservers.Open(t, f.db.AdminURL, 1).Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), `lock table inbox in access exclusive mode`)
	}
	if err != nil {
		t.Fatal(err)
	}
	if answer, body := f.ask(http.MethodPost, "/api/v1/replay/dry-run"); answer.StatusCode != http.StatusAccepted {
		t.Fatalf("begun with %d %s", answer.StatusCode, body)
	}
	testservers.Eventually(t, "its tables are there", func() bool { return len(generations(t, env)) > len(before) })
	if _, body := f.ask(http.MethodGet, "/api/v1/replay/dry-run"); !strings.Contains(string(body), `"running"`) {
		t.Fatalf("before the kill it is %s", body)
	}
	p.kill()
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}

	serve()
	if _, body := f.ask(http.MethodGet, "/api/v1/replay/dry-run"); !strings.Contains(string(body), `"none"`) {
		t.Errorf("after the kill it is %s", body)
	}
	if answer, page := f.ask(http.MethodGet, "/replay"); answer.StatusCode != http.StatusOK || strings.Contains(string(page), "running") ||
		!strings.Contains(string(page), "Say what would change") {
		t.Errorf("the page is answered with %d and says\n%s", answer.StatusCode, page)
	}
	testservers.Eventually(t, "its tables are cleared away", func() bool { return maps.Equal(generations(t, env), before) })
	if answer, body := f.ask(http.MethodPost, "/api/v1/replay/dry-run"); answer.StatusCode != http.StatusAccepted {
		t.Errorf("begun again with %d %s", answer.StatusCode, body)
	}
	if now := mustAwaitErrand(t, env, "dry-run"); now.State != "done" {
		t.Errorf("the second one is %+v", now)
	}
	if left := generations(t, env); !maps.Equal(left, before) {
		t.Errorf("of generations there were %v, and are %v", before, left)
	}
}

// generations returns the state of each by its name.
func generations(tb testing.TB, env map[string]string) map[string]string {
	tb.Helper()
	pool := testservers.Open(tb, env["ORDERBOX_DATABASE_URL"], 1)
	defer pool.Close() // it may be looked at often
	rows, err := pool.Query(tb.Context(), `select name, state from generations`)
	if err != nil {
		tb.Fatal(err)
	}
	defer rows.Close()
	states := map[string]string{}
	for rows.Next() {
		var name, state string
		if err := rows.Scan(&name, &state); err != nil {
			tb.Fatal(err)
		}
		states[name] = state
	}
	return states
}

func mustJSON(tb testing.TB, v any) string {
	tb.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}
