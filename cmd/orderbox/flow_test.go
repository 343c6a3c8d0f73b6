package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/testservers"
	"orderbox/internal/verify"
	"orderbox/query"
)

// flow is all stages in this process, against real servers.
type flow struct {
	testing.TB
	db      testservers.DB
	broker  testservers.STAN
	channel string
	url     string
	pool    *pgxpool.Pool
}

const flowToken = "a token of the flow"

// mustFlow runs the stages on an empty database until the test ends, and returns when they are ready.
func mustFlow(tb testing.TB, broker testservers.STAN) *flow {
	tb.Helper()
	f := &flow{TB: tb, db: testservers.Database(tb), broker: broker, channel: testservers.Channel(tb)}
	f.pool = testservers.Open(tb, f.db.ReaderURL, 2)
	listener, err := listen(tb.Context(), "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	f.url = "http://" + listener.Addr().String()
	s := &stages{ingest: true, projector: true, query: true, databaseURL: f.db.ServiceURL, listener: listener,
		broker: brokerFlags{channelFlags{sourceFlags{Sources: []string{"stan"}}, addressFlags{NATSURL: broker.URL, Cluster: broker.Cluster, Channel: f.channel}}, clientFlags{f.channel}},
		tokens: []query.Token{{Name: "ann", Secret: flowToken}}, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	var group sync.WaitGroup
	group.Go(func() {
		if err := s.run(ctx); err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(func() { cancel(); group.Wait() })
	testservers.Eventually(tb, "the stages are ready", func() bool { return askReady(tb.Context(), f.url) == nil })
	return f
}

// publish publishes the payloads one after another.
func (f *flow) publish(payloads ...[]byte) {
	f.Helper()
	mustPublish(f, f.broker.URL, f.broker.Cluster, f.channel, 0, payloads...)
}

// await returns when n messages are decided about and the cache has those that are orders.
func (f *flow) await(n int) {
	f.Helper()
	testservers.Eventually(f, fmt.Sprint(n, " messages are decided about"), func() bool {
		b, err := verify.Stats(f.Context(), f.pool)
		return err == nil && b.Received == int64(n) && b.Pending == 0
	})
	testservers.Eventually(f, "the cache follows", func() bool { return askReady(f.Context(), f.url) == nil && f.cached() })
}

// cached says whether the orders are served.
func (f *flow) cached() bool {
	balance, err := verify.Stats(f.Context(), f.pool)
	return err == nil && mustMeasure(f, f.url, "orderbox_cache_position") >= float64(balance.Checkpoint)
}

// fate is what became of one message.
type fate struct {
	Position        int64
	Payload         []byte
	Verdict         string
	Pointer, UID    string
	Keyword, Reason string
	Fates           int
}

// fates returns what became of the messages, in the order of the log; it takes the end of the statement.
func (f *flow) fates(end string, where ...string) (all []fate) {
	f.Helper()
	const enterSQL = `select set_config('search_path', name || ',public', true) from generations where state = 'current'`
	const fatesSQL = `
		select i.position, i.payload,
			coalesce(d.reason, case when o.position is not null then 'order' when u.position is not null then 'duplicate' else 'none' end),
			coalesce(d.violations->0->>'pointer', ''), coalesce(o.order_uid, ''), coalesce(d.violations->0->>'keyword', ''), coalesce(d.reason, ''),
			num_nonnulls(o.position, u.position, d.position)
		from inbox as i
		left join orders as o on o.position = i.position
		left join duplicates as u on u.position = i.position
		left join dead_letters as d on d.position = i.position
		where true `
	err := pgx.BeginFunc(f.Context(), f.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(f.Context(), enterSQL); err != nil {
			return err
		}
		rows, err := tx.Query(f.Context(), fatesSQL+strings.Join(where, " ")+" "+end)
		if err == nil {
			all, err = pgx.CollectRows(rows, pgx.RowToStructByPos[fate])
		}
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	return all
}

// ask asks the service as the operator, and again while it is asked to, and returns the answer and its body;
// header is name and value in turn.
func (f *flow) ask(method, path string, header ...string) (answer *http.Response, body []byte) {
	f.Helper()
	testservers.Eventually(f, path+" is answered", func() bool {
		answer, body = f.askOnce(method, path, header...)
		return answer.StatusCode != http.StatusServiceUnavailable
	})
	return answer, body
}

func (f *flow) askOnce(method, path string, header ...string) (*http.Response, []byte) {
	f.Helper()
	r, err := http.NewRequestWithContext(f.Context(), method, f.url+path, nil)
	if err != nil {
		f.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+flowToken)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		f.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		f.Fatalf("%s %s: %v", method, path, err)
	}
	return answer, body
}

// mustHold fails unless every value in what is served stands in the message, under the same keys: told
// without the code that judges and serves.
func mustHold(tb testing.TB, message, served []byte) {
	tb.Helper()
	var sent, got any
	for _, v := range []struct {
		text []byte
		into *any
	}{{message, &sent}, {served, &got}} {
		d := json.NewDecoder(bytes.NewReader(v.text))
		d.UseNumber()
		if err := d.Decode(v.into); err != nil {
			tb.Fatalf("%v in %.1000q", err, v.text)
		}
	}
	if at := unlike(sent, got, ""); at != "" {
		tb.Fatalf("at %s\n%.2000s\nis served as\n%.2000s", at, message, served)
	}
}

// unlike returns where something is served otherwise than it was sent; empty when nothing is.
func unlike(sent, got any, at string) string {
	switch got := got.(type) {
	case map[string]any:
		object, ok := sent.(map[string]any)
		for name, part := range got {
			if !ok {
				return at
			}
			if where := unlike(object[name], part, at+"/"+name); where != "" {
				return where
			}
		}
		return ""
	case []any:
		array, ok := sent.([]any)
		if !ok || len(array) != len(got) {
			return at
		}
		for i, part := range got {
			if where := unlike(array[i], part, fmt.Sprint(at, "/", i)); where != "" {
				return where
			}
		}
		return ""
	case json.Number:
		number, ok := sent.(json.Number)
		a, known := new(big.Rat).SetString(string(number))
		b, ours := new(big.Rat).SetString(string(got))
		if ok && known && ours && a.Cmp(b) == 0 {
			return ""
		}
	case string:
		if text, ok := sent.(string); ok && text == got {
			return ""
		}
	}
	return at + "!"
}
