package main

import (
	"strings"
	"testing"

	"orderbox/internal/testservers"
)

// Nothing in the log says that it had more.
func TestVerifyFindsWhatTheLogLostAtItsEnd(t *testing.T) {
	t.Parallel()
	const messages = 120
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	p := mustProgram(t, replicaEnv(db, broker, channel, channel), "serve", "--stages", "ingest")
	payloads, _ := generated(31, messages)
	mustPublish(t, broker.URL, broker.Cluster, channel, 0, payloads...)
	verify := func(args ...string) (int, string, string) {
		return runOrderbox(t.Context(), append([]string{"verify", "--database-url", db.ServiceURL, "--nats-url", broker.URL,
			"--stan-cluster", broker.Cluster, "--channel", channel}, args...)...)
	}
	testservers.Eventually(t, "the log has what the broker has", func() bool {
		code, out, _ := verify("--broker")
		return code == 0 && strings.Contains(out, "sequences 1 to 120: the log lacks 0")
	})
	p.mustStop()
	admin := testservers.Open(t, db.AdminURL, 1)
	// As a database is that failed over to a standby that lagged.
	if _, err := admin.Exec(t.Context(), `delete from inbox where sequence > 100`); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := verify(); code != 0 {
		t.Errorf("the log alone shows nothing: exit code %d\n%s%s", code, out, errs)
	}
	code, out, errs := verify("--broker")
	if code != 1 || !strings.Contains(out, "sequences 101 to 120 are not in the log") || !strings.Contains(errs, "let ingest run") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if code, out, _ := verify("--broker", "--json"); code != 1 || !strings.Contains(out, `"lacking": 20`) {
		t.Errorf("exit code %d\n%s", code, out)
	}
}
