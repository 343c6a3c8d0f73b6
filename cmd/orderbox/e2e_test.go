package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"orderbox/internal/testservers"
	"orderbox/internal/verify"
	"orderbox/publisher"
	"orderbox/sql"
)

const modelUID = "b563feb7b2b84b6test"

// servedModel is the reference order as it must be served: the model without white space.
func servedModel(tb testing.TB) string {
	tb.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, publisher.Model); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

// mustPublish publishes payloads, at most rate a second unless that is 0, and fails unless every one is confirmed.
func mustPublish(tb testing.TB, natsURL, cluster, channel string, rate float64, payloads ...[]byte) {
	tb.Helper()
	mustPublishTo(tb, publisher.Options{URL: natsURL, Cluster: cluster, Channel: channel, Rate: rate}, payloads...)
}

func mustPublishTo(tb testing.TB, o publisher.Options, payloads ...[]byte) {
	tb.Helper()
	if err := publishTo(tb, o, payloads...); err != nil {
		tb.Fatal(err)
	}
}

func publishTo(tb testing.TB, o publisher.Options, payloads ...[]byte) error {
	o.AckWait = 10 * time.Minute // on a busy machine a shorter one publishes twice
	p, err := publisher.New(o)
	if err != nil {
		return err
	}
	var result publisher.Result
	// A broker that is busy with other tests may not answer at once; nothing was published then.
	for range 5 {
		result, err = p.Publish(tb.Context(), func(yield func([]byte, error) bool) {
			for _, payload := range payloads {
				if !yield(payload, nil) {
					return
				}
			}
		})
		if !errors.Is(err, publisher.ErrNoBroker) {
			break
		}
	}
	if err != nil || result.Confirmed != int64(len(payloads)) {
		return fmt.Errorf("published %+v, %w", result, err)
	}
	return nil
}

func mustCheck(tb testing.TB, databaseURL string) verify.Report {
	tb.Helper()
	pool, err := sql.Open(tb.Context(), databaseURL, "test", 1)
	if err != nil {
		tb.Fatal(err)
	}
	defer pool.Close()
	report, err := verify.Check(tb.Context(), pool)
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range report.Broken {
		tb.Errorf("law %d is broken: %s (%d, for example %v)", f.Law, f.What, f.Count, f.Examples)
	}
	return report
}

// What a newcomer does, and then an unfriendly person: everything with nothing set up, and kill -9.
func TestUpServesSamplesAndGoesOnAfterKillNine(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"stan", "jetstream"} {
		t.Run(source, func(t *testing.T) { t.Parallel(); upServesSamples(t, source) })
	}
}

func upServesSamples(t *testing.T, source string) {
	dir := testservers.Dir(t)
	args := []string{"up", "--data", dir, "--listen", "127.0.0.1:0", "--log-level", "debug", "--source", source}
	first := mustProgram(t, nil, args...)
	env := mustEnv(t, dir)
	order := func() string {
		_, body := get(t, env["ORDERBOX_URL"]+"/api/v1/orders/"+modelUID, "")
		return body
	}
	testservers.Eventually(t, "the sample order appears", func() bool { return order() == servedModel(t) })
	if code, page := get(t, env["ORDERBOX_URL"]+"/orders/"+modelUID, ""); code != http.StatusOK || !bytes.Contains([]byte(page), []byte("Test Testov")) {
		t.Errorf("the order's page: %d", code)
	}
	testservers.Eventually(t, "the sample rubbish is a dead letter", func() bool { // it comes after the order
		code, body := get(t, env["ORDERBOX_URL"]+"/api/v1/dead-letters", env["ORDERBOX_OPERATOR_TOKEN"])
		return code == http.StatusOK && strings.Contains(body, "malformed")
	})
	if code, _ := get(t, env["ORDERBOX_URL"]+"/api/v1/dead-letters", ""); code != http.StatusUnauthorized {
		t.Errorf("the dead letters without a token: %d", code)
	}

	if code, _, errs := runOrderbox(t.Context(), args...); code != 1 || !bytes.Contains([]byte(errs), []byte("another")) {
		t.Errorf("a second up in the same directory: exit code %d, %s", code, errs)
	}
	uid := map[string]any{}
	if err := json.Unmarshal(publisher.Model, &uid); err != nil {
		t.Fatal(err)
	}
	uid["order_uid"] = "my-own-order"
	own, err := json.Marshal(uid)
	if err != nil {
		t.Fatal(err)
	}
	where := publisher.Options{URL: env["ORDERBOX_NATS_URL"], Cluster: env["ORDERBOX_STAN_CLUSTER"], Channel: env["ORDERBOX_CHANNEL"]}
	if source == "jetstream" {
		where.Stream = env["ORDERBOX_STREAM"]
	}
	mustPublishTo(t, where, own)
	first.kill()

	second := mustProgram(t, nil, args...)
	testservers.Eventually(t, "the second up writes its file", func() bool {
		again := mustEnv(t, dir)
		moved := again["ORDERBOX_URL"] != env["ORDERBOX_URL"]
		env = again
		return moved
	})
	testservers.Eventually(t, "the own order appears", func() bool {
		code, _ := get(t, env["ORDERBOX_URL"]+"/api/v1/orders/my-own-order", "")
		return code == http.StatusOK
	})
	if order() != servedModel(t) {
		t.Error("the sample order is not the same after kill -9")
	}
	if code, out, errs := runOrderbox(t.Context(), "verify", "--data", dir); code != 0 {
		t.Errorf("verify: exit code %d\n%s%s", code, out, errs)
	}
	second.mustStop()
	for _, personal := range []string{"Testov", "+9720000000", "Ploshad Mira", "test@gmail.com"} {
		if strings.Contains(first.log.String()+second.log.String(), personal) {
			t.Errorf("the log, even at debug, says %q", personal)
		}
	}
}

// Law 1 to 4 at once: the service is killed again and again while messages of every kind come in.
func TestKillNineLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	const messages, kills = 10_000, 10
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	env := []string{"ORDERBOX_DATABASE_URL=" + db.ServiceURL, "ORDERBOX_NATS_URL=" + broker.URL,
		"ORDERBOX_STAN_CLUSTER=" + broker.Cluster, "ORDERBOX_CHANNEL=" + channel, "ORDERBOX_CLIENT_ID=" + channel}
	start := func() (*program, string) {
		listener, err := listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		listener.Close()
		return mustProgram(t, env, "serve", "--listen", address), "http://" + address
	}

	var payloads [][]byte
	orders := map[string]bool{}
	for m := range publisher.Messages(21, messages, 0.1) {
		payloads = append(payloads, m.Payload)
		if m.Verdict == publisher.VerdictOrder {
			orders[m.OrderUID] = true
		}
	}
	pool := testservers.Open(t, db.ServiceURL, 1)
	var publishing sync.WaitGroup
	// Not so fast that everything is in the inbox before the first kill.
	publishing.Go(func() { mustPublish(t, broker.URL, broker.Cluster, channel, 1200, payloads...) })
	for n := range int64(kills) {
		p, _ := start()
		testservers.Eventually(t, "more is decided", func() bool {
			b, err := verify.Stats(t.Context(), pool)
			return err == nil && b.Received-b.Pending >= (n+1)*messages/(kills+1)
		})
		p.kill()
	}
	publishing.Wait()

	p, url := start()
	testservers.Eventually(t, "everything is projected", func() bool {
		b, err := verify.Stats(t.Context(), pool)
		return err == nil && b.Received >= messages && b.Pending == 0
	})
	report := mustCheck(t, db.ServiceURL)
	if report.Received != messages || report.Orders != int64(len(orders)) || report.Gaps != 0 {
		t.Errorf("received %d, orders %d, gaps %d; want %d, %d, 0", report.Received, report.Orders, report.Gaps, messages, len(orders))
	}
	testservers.Eventually(t, "the last service is ready", func() bool { return askReady(t.Context(), url) == nil })
	uids := slices.Collect(maps.Keys(orders))
	for range 200 {
		uid := uids[rand.IntN(len(uids))]
		if code, body := get(t, url+"/api/v1/orders/"+uid, ""); code != http.StatusOK {
			t.Errorf("order %s: %d %s", uid, code, body)
		}
	}
	p.mustStop()
}

// Between the stages there are only tables: each runs with nothing else in common as well.
func TestStagesRunApart(t *testing.T) {
	t.Parallel()
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	listener, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	measuring, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	flags := brokerFlags{channelFlags{sourceFlags{Sources: []string{"stan"}}, addressFlags{NATSURL: broker.URL, Cluster: broker.Cluster, Channel: channel}}, clientFlags{channel}}
	for _, s := range []*stages{{ingest: true, listener: measuring}, {projector: true}, {query: true, listener: listener}} {
		s.databaseURL, s.broker, s.log = db.ServiceURL, flags, slog.New(slog.NewTextHandler(t.Output(), nil))
		group.Go(func() {
			if err := s.run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	mustPublish(t, broker.URL, broker.Cluster, channel, 0, publisher.Model, []byte("rubbish"))
	url := fmt.Sprintf("http://%s/api/v1/orders/%s", listener.Addr(), modelUID)
	testservers.Eventually(t, "the order appears", func() bool {
		_, body := get(t, url, "")
		return body == servedModel(t)
	})
	if n := mustMeasure(t, "http://"+measuring.Addr().String(), `orderbox_ingest_received_total{source="stan"}`); n != 2 {
		t.Errorf("received %v, as the process says that ingests alone", n)
	}
}
