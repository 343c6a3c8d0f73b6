package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"orderbox/internal/testservers"
	"orderbox/internal/verify"
	"orderbox/sql"
)

// Only the log is precious: 200,000 messages, a fifth of them rubbish; all tables right of the log are dropped
// under the running service, and come back the same, in every row and in every byte that is served; and a full
// replay changes nothing either. What is timed is the coming back; the row project of internal/bench has the limit.
func BenchmarkDroppedProjection(b *testing.B) {
	messages, part := 200_000, 20_000
	if testing.Short() { // to show that it works
		messages, part = 4_000, 2_000
	}
	dir := testservers.Dir(b)
	p := mustProgram(b, nil, "up", "--data", dir, "--listen", "127.0.0.1:0", "--empty", "--log-level", "warn")
	env := mustEnv(b, dir)
	b.StopTimer()
	for seed := range uint64(messages / part) {
		mustFill(b, env, 71+seed, part)
	}
	want, served := mustPrint(b, env), servedHash(b, env)
	pool, err := sql.Open(b.Context(), env["ORDERBOX_DATABASE_URL"], "bench", 1)
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	b.StartTimer()
	for b.Loop() {
		const dropSQL = `
			do $$ begin
				execute (select format('drop schema %I cascade', name) from generations where state = 'current');
			end $$`
		if _, err := pool.Exec(b.Context(), dropSQL); err != nil {
			b.Fatal(err)
		}
		for projected := part; projected <= messages; projected += part {
			testservers.Eventually(b, fmt.Sprint(projected, " messages are projected again"), func() bool {
				balance, err := verify.Stats(b.Context(), pool) // an error while there are no tables
				return err == nil && balance.Orders+balance.Duplicates+balance.DeadLetters >= int64(projected)
			})
		}
		b.StopTimer()
		mustBeUnchanged(b, env, want, served)
		b.StartTimer()
	}
	b.StopTimer()
	if code, out, errs := runOrderbox(b.Context(), "replay", "--data", dir); code != 0 {
		b.Errorf("replay: exit code %d\n%s%s", code, out, errs)
	}
	mustBeUnchanged(b, env, want, served)
	b.ReportMetric(float64(b.N*messages)/b.Elapsed().Seconds(), "messages/s")
	p.mustStop()
}

func mustBeUnchanged(tb testing.TB, env map[string]string, want verify.Print, served string) {
	tb.Helper()
	if got := mustPrint(tb, env); got != want {
		tb.Fatalf("the fingerprint is %s and was %s", got, want)
	}
	testservers.Eventually(tb, "the same bytes are served", func() bool { return servedHash(tb, env) == served })
	mustCheck(tb, env["ORDERBOX_DATABASE_URL"])
}

func mustPrint(tb testing.TB, env map[string]string) verify.Print {
	tb.Helper()
	pool, err := sql.Open(tb.Context(), env["ORDERBOX_DATABASE_URL"], "test", 1)
	if err != nil {
		tb.Fatal(err)
	}
	defer pool.Close()
	p, err := verify.Fingerprint(tb.Context(), pool)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// servedHash is of all that is served, in the order of ids.
func servedHash(tb testing.TB, env map[string]string) string {
	tb.Helper()
	orders, h := everyOrder(tb, env["ORDERBOX_URL"]), sha256.New()
	for _, uid := range slices.Sorted(maps.Keys(orders)) {
		io.WriteString(h, orders[uid])
	}
	return fmt.Sprintf("%d orders, %x", len(orders), h.Sum(nil))
}
