package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"orderbox/internal/testservers"
	"orderbox/internal/verify"
)

// A sender writes amounts as decimal strings. A schema that takes them is tried on the whole history, then
// deployed, and turns exactly the predicted dead letters into orders.
func TestASchemaFixTurnsThePredictedDeadLettersIntoOrdersInABrowser(t *testing.T) {
	t.Parallel()
	dir := testservers.Dir(t)
	up := []string{"up", "--empty", "--data", dir, "--listen", "127.0.0.1:0"}
	before := mustProgram(t, nil, up...)
	env := mustEnv(t, dir)
	payloads := [][]byte{[]byte("{"), mustOrder(t, "order_uid", "good"), mustOrder(t, "order_uid", "half", "payment.amount", "18.17"),
		mustOrder(t, "order_uid", "none", "payment.amount", "free")}
	for i := range 5 {
		payloads = append(payloads, mustOrder(t, "order_uid", fmt.Sprint("fixed-", i), "payment.amount", []string{"1817", "1817.00"}[i%2]))
	}
	mustPublish(t, env["ORDERBOX_NATS_URL"], env["ORDERBOX_STAN_CLUSTER"], env["ORDERBOX_CHANNEL"], 0, payloads...)
	testservers.Eventually(t, "all are decided", func() bool { b := stats(t, env); return b.Orders == 1 && b.DeadLetters == 8 })

	schema := mustSchemaWithDecimalStrings(t)
	var diff verify.Diff
	code, out, errs := runOrderbox(t.Context(), "replay", "--dry-run", "--schema", schema, "--json", "--examples", "100", "--data", dir)
	if err := json.Unmarshal([]byte(out), &diff); code != 0 || err != nil {
		t.Fatalf("dry run: exit code %d, %v\n%s%s", code, err, out, errs)
	}
	var predicted []int64
	for _, m := range diff.Examples.DeadLetters.Resolved {
		predicted = append(predicted, m.Position)
	}
	if diff.Orders.Appear != 5 || !slices.Equal(predicted, []int64{5, 6, 7, 8, 9}) {
		t.Errorf("predicted are %d orders, of the messages %v", diff.Orders.Appear, predicted)
	}

	before.mustStop()
	if err := os.Remove(filepath.Join(dir, "env")); err != nil { // it names the old ports
		t.Fatal(err)
	}
	mustProgram(t, nil, append(up, "--schema", schema)...)
	env = mustEnv(t, dir)
	testservers.Eventually(t, "the next generation is in service", func() bool {
		_, text := get(t, env["ORDERBOX_URL"]+"/api/v1/replay", env["ORDERBOX_OPERATOR_TOKEN"])
		return strings.Contains(text, `"in_service":"generation_2"`)
	})

	b := mustBrowser(t, env["ORDERBOX_URL"])
	b.open("/dead-letters?state=open")
	b.fill("#token", env["ORDERBOX_OPERATOR_TOKEN"])
	b.click("form.fields button", ".groups")
	b.mustSee(".groups", "2 fail at /payment/amount invalid", "1 fails as a whole malformed")
	if n := b.count(".letters li"); n != 3 {
		t.Errorf("%d dead letters are left, want 3", n)
	}
	testservers.Eventually(t, "the cache has the next generation", func() bool {
		code, _ := get(t, env["ORDERBOX_URL"]+"/api/v1/orders/fixed-4", "")
		return code == 200
	})
	for i := range 5 {
		b.open(fmt.Sprint("/orders/fixed-", i))
		b.mustSee("article", fmt.Sprint("fixed-", i), "1,817")
	}
	b.open("/replay")
	b.mustSee("#replay", "No replay is under way.", "generation_2", "generation_1")
	b.picture("replay")
	mustCheck(t, env["ORDERBOX_DATABASE_URL"])
}

func mustSchemaWithDecimalStrings(tb testing.TB) string {
	tb.Helper()
	builtIn, err := os.ReadFile("../../projector/order.schema.json")
	if err != nil {
		tb.Fatal(err)
	}
	const money = `"money": { "type": "integer",`
	fixed := strings.Replace(string(builtIn), money, `"money": { "type": ["integer", "string"], "pattern": "^[0-9]{1,18}([.]0+)?$",`, 1)
	if fixed == string(builtIn) {
		tb.Fatal("the schema has no money any more")
	}
	file := filepath.Join(tb.TempDir(), "order.schema.json")
	if err := os.WriteFile(file, []byte(fixed), 0o644); err != nil {
		tb.Fatal(err)
	}
	return file
}
