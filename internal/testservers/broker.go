package testservers

import (
	"crypto/rand"
	"testing"

	"orderbox/internal/local"
)

// testCluster is the name of every STAN server for tests.
const testCluster = "orderbox-test"

// STAN is where a STAN server is.
type STAN struct {
	URL     string
	Cluster string
}

// Broker returns the STAN server that all tests of this binary share: take a Channel, and client ids
// that no other test takes.
func Broker(tb testing.TB) STAN {
	tb.Helper()
	broker, err := run.broker()
	if err != nil {
		tb.Fatalf("start STAN for tests: %v", err)
	}
	return broker
}

// Channel returns the name of a channel that nobody else uses.
func Channel(tb testing.TB) string {
	tb.Helper()
	return "test-" + rand.Text()
}

func (s *servers) startBroker() (STAN, error) {
	kind, err := s.kind()
	if err != nil {
		return STAN{}, err
	}
	if kind == containers {
		return s.stanContainer()
	}
	server, err := local.StartSTAN(local.STANOptions{ClusterID: testCluster})
	if err != nil {
		return STAN{}, err
	}
	s.onStop(func() error { server.Stop(); return nil })
	return STAN{URL: server.URL(), Cluster: testCluster}, nil
}
