package local

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/stan.go"
)

const (
	testCluster = "local-test"
	testChannel = "numbers"
	// more than a page each, so that a torn write has many places to be torn at
	payloadBytes = 5000
)

// payload is message n, recognisable whole.
func payload(n int) []byte {
	return fmt.Appendf(bytes.Repeat([]byte{'.'}, payloadBytes), "%d", n)
}

func mustStartSTAN(t *testing.T, o STANOptions) *STAN {
	t.Helper()
	o.ClusterID = testCluster
	s, err := StartSTAN(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func mustConnect(t *testing.T, s *STAN, client string) stan.Conn {
	t.Helper()
	conn, err := stan.Connect(testCluster, client, stan.NatsURL(s.URL()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// mustReceive returns the next n payloads that a new subscription gets, by sequence number.
func mustReceive(t *testing.T, conn stan.Conn, n int, options ...stan.SubscriptionOption) map[uint64][]byte {
	t.Helper()
	messages := make(chan *stan.Msg, n)
	sub, err := conn.Subscribe(testChannel, func(m *stan.Msg) {
		select {
		case messages <- m:
		default: // more than asked for
		}
	}, options...)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	received := map[uint64][]byte{}
	timeout := time.After(30 * time.Second)
	for len(received) < n {
		select {
		case m := <-messages:
			received[m.Sequence] = m.Data
		case <-timeout:
			t.Fatalf("received %d messages of %d", len(received), n)
		}
	}
	return received
}

func TestSTANKeepsMessagesAndPositionsAcrossStops(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "stan")
	s := mustStartSTAN(t, STANOptions{Dir: dir})
	conn := mustConnect(t, s, "reader")
	for n := range 3 {
		if err := conn.Publish(testChannel, payload(n)); err != nil {
			t.Fatal(err)
		}
	}
	mustReceive(t, conn, 2, stan.DurableName("reader"), stan.DeliverAllAvailable(), stan.MaxInflight(2), stan.SetManualAckMode())
	conn.Close()
	s.Stop()

	s = mustStartSTAN(t, STANOptions{Dir: dir})
	got := mustReceive(t, mustConnect(t, s, "reader"), 3, stan.DurableName("reader"))
	for n := range 3 {
		if !bytes.Equal(got[uint64(n+1)], payload(n)) {
			t.Errorf("message %d came back with %d bytes", n+1, len(got[uint64(n+1)]))
		}
	}
}

func TestSTANConfirmsOnlyWhatSurvivesKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	said := mustRunAndKill(t, "stan", dir)
	var acked, last int
	if _, err := fmt.Sscanf(said, "acked %d last %d", &acked, &last); err != nil {
		t.Fatalf("the program said %q", said)
	}

	s := mustStartSTAN(t, STANOptions{Dir: dir})
	conn := mustConnect(t, s, "reader") // a durable is its client's
	got := mustReceive(t, conn, last, stan.DeliverAllAvailable())
	for n := range last {
		if !bytes.Equal(got[uint64(n+1)], payload(n)) {
			t.Fatalf("message %d of %d came back with %d bytes", n+1, last, len(got[uint64(n+1)]))
		}
	}
	// The durable goes on behind what was acknowledged before its subscription was closed.
	for sequence := range mustReceive(t, conn, last-acked, stan.DurableName("reader")) {
		if sequence <= uint64(acked) {
			t.Errorf("message %d of the acknowledged %d came again", sequence, acked)
		}
	}
}

// stanProgram publishes, acknowledges all through a durable, publishes some more, and then without an
// end until it is killed in the middle of it.
func stanProgram(dir string) error {
	const acked, last = 100, 130
	s, err := StartSTAN(STANOptions{Dir: dir, ClusterID: testCluster})
	if err != nil {
		return err
	}
	publisher, err := stan.Connect(testCluster, "publisher", stan.NatsURL(s.URL()))
	if err != nil {
		return err
	}
	for n := range acked {
		if err := publisher.Publish(testChannel, payload(n)); err != nil {
			return err
		}
	}
	reader, err := stan.Connect(testCluster, "reader", stan.NatsURL(s.URL()))
	if err != nil {
		return err
	}
	received := make(chan error, acked)
	sub, err := reader.Subscribe(testChannel, func(m *stan.Msg) { received <- m.Ack() },
		stan.DurableName("reader"), stan.DeliverAllAvailable(), stan.SetManualAckMode())
	if err != nil {
		return err
	}
	for range acked {
		if err := <-received; err != nil {
			return err
		}
	}
	if err := sub.Close(); err != nil { // answered when the acknowledgements are on disk
		return err
	}
	for n := range last - acked {
		if err := publisher.Publish(testChannel, payload(acked+n)); err != nil {
			return err
		}
	}
	go func() {
		for n := last; ; n++ {
			publisher.PublishAsync(testChannel, payload(n), nil)
		}
	}()
	return ready(fmt.Sprintf("acked %d last %d", acked, last))
}

// Bytes that a crash left at the end of any file of the store neither keep the server from starting nor
// cost a message, now and when the index has to be made anew at a later start.
func TestSTANStartsOverTornWrites(t *testing.T) {
	t.Parallel()
	record := []byte{100, 0, 0, 0, 1, 2, 3, 4, 5} // claims 100 bytes, has 1
	for _, c := range []struct {
		name, file string
		tail       []byte
	}{
		{name: "message", file: testChannel + "/msgs.1.dat", tail: record},
		{name: "record header", file: testChannel + "/msgs.1.dat", tail: record[:3]},
		{name: "whole record that is in no index", file: testChannel + "/msgs.1.dat", tail: []byte{1, 0, 0, 0, 1, 2, 3, 4, 5}},
		{name: "zeros", file: testChannel + "/msgs.1.dat", tail: make([]byte, 1000)},
		{name: "index", file: testChannel + "/msgs.1.idx", tail: record},
		{name: "subscription", file: testChannel + "/subs.dat", tail: record},
		{name: "client", file: "clients.dat", tail: record},
		{name: "server", file: "server.dat", tail: record},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			publishAndStop(t, dir, 0)
			file, err := os.OpenFile(filepath.Join(dir, c.file), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.Write(c.tail); err != nil {
				t.Fatal(err)
			}
			file.Close()
			publishAndStop(t, dir, 1)
			if err := os.Truncate(filepath.Join(dir, testChannel, "msgs.1.idx"), versionBytes+1); err != nil {
				t.Fatal(err)
			}
			publishAndStop(t, dir, 2)
		})
	}
}

// The first write to a new channel can be torn, too: then there is an index with nothing in it.
func TestSTANStartsOverATornFirstWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	publishAndStop(t, dir, 0)
	data, index := filepath.Join(dir, testChannel, "msgs.1.dat"), filepath.Join(dir, testChannel, "msgs.1.idx")
	for path, length := range map[string]int64{data: versionBytes + 700, index: versionBytes} {
		if err := os.Truncate(path, length); err != nil {
			t.Fatal(err)
		}
	}
	publishAndStop(t, dir, 0) // nothing is left of the message, so this one is the first again
	publishAndStop(t, dir, 1)
}

// publishAndStop starts a server on dir, publishes message n, and finds this and all before.
func publishAndStop(t *testing.T, dir string, n int) {
	t.Helper()
	s := mustStartSTAN(t, STANOptions{Dir: dir})
	defer s.Stop()
	conn := mustConnect(t, s, "client")
	defer conn.Close()
	if err := conn.Publish(testChannel, payload(n)); err != nil {
		t.Fatal(err)
	}
	got := mustReceive(t, conn, n+1, stan.DeliverAllAvailable())
	for i := range n + 1 {
		if !bytes.Equal(got[uint64(i+1)], payload(i)) {
			t.Errorf("message %d came back with %d bytes", i+1, len(got[uint64(i+1)]))
		}
	}
}

func TestSTANNamesThePortThatIsTaken(t *testing.T) {
	t.Parallel()
	s := mustStartSTAN(t, STANOptions{})
	var port int
	if _, err := fmt.Sscanf(s.URL(), "nats://127.0.0.1:%d", &port); err != nil {
		t.Fatalf("URL is %s", s.URL())
	}
	_, err := StartSTAN(STANOptions{Port: port, ClusterID: testCluster})
	if want := fmt.Sprintf("port %d on 127.0.0.1 is taken", port); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %s", err, want)
	}
}

// By default the server confirms what it syncs within two minutes, which a kill does not show: the system still has it.
func TestAStreamsMessagesAreSyncedBeforeTheyAreConfirmed(t *testing.T) {
	t.Parallel()
	if o := natsServerOptions(STANOptions{JetStream: t.TempDir()}, 0); !o.JetStream || !o.SyncAlways {
		t.Errorf("JetStream %v, synced always %v", o.JetStream, o.SyncAlways)
	}
}
