package main

import (
	"encoding/json"
	"net/http"
	"syscall"
	"testing"
	"time"

	"orderbox/internal/testservers"
)

// One that hangs (SIGSTOP) keeps its connections, and finds when it wakes that it may not write; one that dies loses them.
func TestAnotherReplicaTakesOver(t *testing.T) {
	t.Parallel()
	const messages = 200
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	mustProgram(t, replicaEnv(db, broker, channel, channel), "serve", "--stages", "ingest")
	var replicas [2]*program
	var urls [2]string
	for i := range replicas {
		address := freeAddress(t)
		replicas[i] = mustProgram(t, replicaEnv(db, broker, channel, channel), "serve", "--stages", "projector,query", "--listen", address)
		urls[i] = "http://" + address
	}
	role := func(i int) string {
		_, said := get(t, urls[i]+"/readyz", "")
		var readiness struct{ Roles map[string]string }
		if err := json.Unmarshal([]byte(said), &readiness); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		return readiness.Roles["projector"]
	}
	for _, url := range urls {
		testservers.Eventually(t, "it is ready", func() bool { return askReady(t.Context(), url) == nil })
	}
	testservers.Eventually(t, "one leads", func() bool { return role(0) == "leading" || role(1) == "leading" })
	first, second := 0, 1
	if role(1) == "leading" {
		first, second = 1, 0
	}
	sent := 0
	shows := func(i int) {
		t.Helper()
		payloads, uids := generated(uint64(51+sent), messages)
		mustPublish(t, broker.URL, broker.Cluster, channel, 0, payloads...)
		sent += messages
		began := time.Now()
		testservers.Eventually(t, "the last order is shown", func() bool {
			code, _ := get(t, urls[i]+"/api/v1/orders/"+uids[len(uids)-1], "")
			return code == http.StatusOK
		})
		t.Logf("replica %d shows the last order after %v", i, time.Since(began).Round(time.Millisecond))
	}
	shows(first)
	if got := role(second); got != "standing by" {
		t.Errorf("beside one that leads, the other one is %s", got)
	}
	if err := replicas[first].cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	shows(second)
	if err := replicas[first].cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	testservers.Eventually(t, "who hung stands by", func() bool { return role(first) == "standing by" })
	shows(first)
	if got := role(second); got != "leading" {
		t.Errorf("after the other one woke, this one is %s", got)
	}
	replicas[second].kill()
	shows(first)
	if r := mustDecide(t, db, int64(sent)); r.Received != int64(sent) {
		t.Errorf("%d messages are in the log, want %d", r.Received, sent)
	}
}
