package cutover

import (
	"testing"

	"orderbox/internal/stream"
	"orderbox/internal/testservers"
)

// The stream has three replicas, and the server that leads it is stopped, again and again, while the relay copies.
func TestCopiesAreInOrderWhicheverServerFails(t *testing.T) {
	t.Parallel()
	cluster := testservers.OwnCluster(t)
	w := &world{TB: t, stan: testservers.OwnBroker(t), jet: &testservers.OwnedBroker{STAN: testservers.STAN{URL: cluster.URL}}}
	payloads := numbered(1, 4000)
	w.mustPublish(payloads[:1000]...)
	w.mustRelay()
	copied := make(chan Progress, 1)
	o := w.options("relay")
	o.Progress = func(p Progress) {
		select {
		case copied <- p:
		default:
		}
	}
	done := w.run(o)
	for at := 1000; at < len(payloads); at += 1000 {
		w.mustPublish(payloads[at : at+500]...)
		leader := cluster.Leader("ORDERS")
		cluster.Stop(leader)
		w.mustPublish(payloads[at+500 : at+1000]...)
		testservers.Eventually(t, "copying goes on without a server", func() bool {
			select {
			case p := <-copied:
				return p.Last == uint64(at+1000)
			default:
				return false
			}
		})
		cluster.Start(leader)
	}
	done()
	cluster.Leader("ORDERS")
	w.mustHold(1, payloads)
	s, err := w.mustJetStream().Stream(t.Context(), "ORDERS")
	if err != nil {
		t.Fatal(err)
	}
	if c := s.CachedInfo().Config; c.Replicas != 3 || !c.AllowAtomicPublish || c.Subjects[1] != stream.CopySubject(channel) {
		t.Errorf("the stream is %+v", c)
	}
}
