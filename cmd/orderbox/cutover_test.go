package main

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"orderbox/internal/cutover"
	"orderbox/internal/testservers"
	"orderbox/internal/verify"
	"orderbox/publisher"
)

// moving is a service whose messages move from STAN to JetStream. All of it is killed again and again.
type moving struct {
	testing.TB
	db      testservers.DB
	stan    *testservers.OwnedBroker
	jet     *testservers.OwnedCluster
	channel string
	dice    *rand.Rand
	kills   int
	serve   *program
	relay   *program // nil before there is one
	source  string   // of serve
	rate    float64  // of publishing
}

func (m *moving) env() []string {
	return []string{"ORDERBOX_DATABASE_URL=" + m.db.ServiceURL, "ORDERBOX_NATS_URL=" + m.stan.URL, "ORDERBOX_STREAM_URL=" + m.jet.URL,
		"ORDERBOX_STAN_CLUSTER=" + m.stan.Cluster, "ORDERBOX_CHANNEL=" + m.channel, "ORDERBOX_CLIENT_ID=replica"}
}

// mustFeed has the service receive from these sources from now on.
func (m *moving) mustFeed(source string) {
	m.Helper()
	if m.serve != nil {
		m.serve.kill()
	}
	m.source = source
	m.serve = mustProgram(m, m.env(), "serve", "--listen", "127.0.0.1:0", "--source", source)
}

func (m *moving) mustCopy() {
	m.Helper()
	if m.relay != nil {
		m.relay.kill()
	}
	m.relay = mustProgram(m, m.env(), "cutover")
}

// mustPublish publishes messages, while what runs is killed and started again at random. Then it restarts STAN, or the
// server that leads the stream.
func (m *moving) mustPublish(stream string, payloads [][]byte) {
	m.Helper()
	o := publisher.Options{URL: m.stan.URL, Cluster: m.stan.Cluster, Channel: m.channel, Rate: m.rate}
	if stream != "" {
		o = publisher.Options{URL: m.jet.URL, Stream: stream, Channel: m.channel, Rate: m.rate}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := publishTo(m, o, payloads...); err != nil {
			m.Error(err)
		}
	}()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-time.After(time.Duration(100+m.dice.IntN(2000)) * time.Millisecond):
		}
		m.kill()
	}
	if m.relay == nil || m.dice.IntN(2) == 0 {
		m.stan.Stop()
		m.stan.Start()
		return
	}
	leader := m.jet.Leader("ORDERS")
	m.jet.Stop(leader)
	m.jet.Start(leader)
	m.jet.Leader("ORDERS")
}

// kill kills one or both, at random.
func (m *moving) kill() {
	m.Helper()
	m.kills++
	which := m.dice.IntN(3)
	if which != 0 || m.relay == nil {
		m.mustFeed(m.source)
	}
	if which != 1 && m.relay != nil {
		m.mustCopy()
	}
}

// mustSettle kills on until so many messages are decided, each time after something was done since the last.
func (m *moving) mustSettle(messages int64) {
	m.Helper()
	pool := testservers.Open(m, m.db.ReaderURL, 1)
	due := time.Now()
	for received, decided := int64(0), int64(0); decided < messages; {
		testservers.Eventually(m, "more is received or decided, in spite of the kills", func() bool {
			b, err := verify.Stats(m.Context(), pool)
			if err != nil {
				return false
			}
			more := b.Received > received || b.Received-b.Pending > decided
			received, decided = b.Received, b.Received-b.Pending
			return more || decided >= messages
		})
		if now := time.Now(); decided < messages && now.After(due) {
			m.kill()
			due = now.Add(time.Duration(500+m.dice.IntN(5000)) * time.Millisecond)
		}
	}
}

func (m *moving) mustReport(wantCode int, args ...string) (r cutover.Report) {
	m.Helper()
	args = append(args, "--json", "--data", m.TempDir(), "--database-url", m.db.ReaderURL, "--nats-url", m.stan.URL, "--stream-url", m.jet.URL,
		"--stan-cluster", m.stan.Cluster, "--channel", m.channel)
	code, out, errs := runOrderbox(m.Context(), append([]string{"cutover"}, args...)...)
	if code != wantCode {
		m.Fatalf("exit code %d, want %d\n%s%s", code, wantCode, out, errs)
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		m.Fatalf("%v\n%s%s", err, out, errs)
	}
	return r
}

func (m *moving) mustPrint() verify.Print {
	m.Helper()
	p, err := verify.Fingerprint(m.Context(), testservers.Open(m, m.db.ReaderURL, 1))
	if err != nil {
		m.Fatal(err)
	}
	return p
}

// The same messages come once through STAN alone, and once through a cut-over to a cluster of three servers in which
// everything is killed again and again: the report adds up, and every row of the two projections is the same.
func TestACutOverWithKillsComesToTheSame(t *testing.T) {
	t.Parallel()
	n := sized(200_000, 3000)
	var payloads [][]byte
	for m := range publisher.Messages(83, n, 0.2) {
		payloads = append(payloads, m.Payload)
	}

	straight := &moving{TB: t, db: testservers.Database(t), channel: "orders"}
	broker := testservers.OwnBroker(t)
	p, _ := mustServe(t, straight.db, broker.STAN, straight.channel)
	mustPublish(t, broker.URL, broker.Cluster, straight.channel, 0, payloads...)
	mustDecide(t, straight.db, int64(n))
	p.mustStop()
	want := straight.mustPrint()

	m := &moving{TB: t, db: testservers.Database(t), stan: testservers.OwnBroker(t), jet: testservers.OwnCluster(t), channel: "orders",
		dice: rand.New(rand.NewPCG(83, 1)), rate: float64(n) / 10}
	m.mustFeed("stan")
	m.mustPublish("", payloads[:n/3])
	m.mustSettle(int64(n / 3))
	m.mustCopy()
	m.mustPublish("", payloads[n/3:n/2])
	m.mustFeed("stan,jetstream")
	m.mustPublish("", payloads[n/2:2*n/3])
	m.mustMove(2 * n / 3)
	m.mustPublish("ORDERS", payloads[2*n/3:5*n/6])
	m.mustFeed("jetstream")
	m.mustPublish("ORDERS", payloads[5*n/6:])
	m.mustSettle(int64(n))
	m.relay.kill()
	m.relay = nil

	// What the killed relay copied since it was asked last is found in the stream.
	r := m.mustReport(0, "--until-quiet", "100ms")
	if r.STAN.Messages != int64(2*n/3) || r.Log.Once != r.STAN.Messages || r.Copies.Once != r.STAN.Messages || r.Copies.Again != 0 || r.Copies.Gone != 0 ||
		r.Whole.Messages != int64(n) || !r.Ready || r.Log.Both < int64(n/3) || r.Log.STANAlone != 0 {
		t.Errorf("report %+v", r)
	}
	m.serve.mustStop()
	if got := m.mustPrint(); got != want {
		t.Errorf("after the cut-over %s, without one %s", got, want)
	}
	if report := mustCheck(t, m.db.ServiceURL); report.Gaps != 0 || report.Received != int64(n) || len(report.Epochs) != 2 {
		t.Errorf("gaps %+v, received %d, epochs %+v", report.GapRanges, report.Received, report.Epochs)
	}
	t.Logf("%d kills; %s", m.kills, want)

	m.mustMiss()
}

// mustMove waits until all that was published to STAN is copied, as a producer does before it goes on in the stream.
func (m *moving) mustMove(messages int) {
	m.Helper()
	for copied, done := int64(0), false; !done; {
		testservers.Eventually(m, "more is copied", func() bool {
			r, err := m.tryReport()
			if err != nil {
				return false
			}
			more := r.Copies.Once > copied
			copied, done = r.Copies.Once, r.STAN.Messages == int64(messages) && r.Copies.Missing == 0
			return more || done
		})
	}
}

func (m *moving) tryReport() (r cutover.Report, err error) {
	_, out, errs := runOrderbox(m.Context(), "cutover", "--report", "--json", "--data", m.TempDir(), "--database-url", m.db.ReaderURL,
		"--nats-url", m.stan.URL, "--stream-url", m.jet.URL, "--stan-cluster", m.stan.Cluster, "--channel", m.channel)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		return r, errors.New(errs)
	}
	return r, nil
}

// mustMiss has one message come to STAN alone, of which nobody takes notice: STAN cannot be switched off.
func (m *moving) mustMiss() {
	m.Helper()
	mustPublish(m, m.stan.URL, m.stan.Cluster, m.channel, 0, []byte("late"))
	r := m.mustReport(1, "--report")
	if r.Ready || r.Log.Missing != 1 || r.Copies.Missing != 1 || !strings.Contains(r.Verdict, "1 of its messages are not in the log") {
		m.Errorf("report %+v", r)
	}
}
