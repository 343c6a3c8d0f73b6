//go:build !race

package main

import (
	"testing"

	natsd "github.com/nats-io/nats-server/v2/server"
	stand "github.com/nats-io/nats-streaming-server/server"

	"orderbox/internal/testservers"
)

// A broker may be set up to take far larger messages. Under the race detector they would take minutes and gigabytes, and
// go no other way than those of TestMessagesOfEverySizeThatTheBrokerTakes.
func TestABrokerThatTakes64MiB(t *testing.T) {
	const limit = 64 << 20
	options := stand.GetDefaultOptions()
	options.ID = "large"
	server, err := stand.RunServerWithOpts(options, &natsd.Options{Host: "127.0.0.1", Port: natsd.RANDOM_PORT, NoSigs: true,
		MaxPayload: limit, MaxPending: 4 * limit})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	f := mustFlow(t, testservers.STAN{URL: server.ClientURL(), Cluster: "large"})
	f.mustKeep([]int{1<<20 + 1, limit - 300})
}
