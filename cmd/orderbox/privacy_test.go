package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"orderbox/internal/testservers"
	"orderbox/internal/verify"
	"orderbox/publisher"
)

// private is in every text of every message here, and nowhere else.
const private = "Zyxwvut"

// mustBePrivate is the reference order with private texts wherever one fits, its own keys included, changed by what replaces what.
func mustBePrivate(tb testing.TB, replace ...string) []byte {
	tb.Helper()
	text := string(publisher.Model)
	for _, pair := range [][2]string{{"Test Testov", private}, {"Kiryat Mozkin", private}, {"Ploshad Mira 15", private}, {"Kraiot", private},
		{"test@gmail.com", private + "@gmail.com"}, {"2639809", private}, {"Mascaras", private}, {"Vivienne Sabo", private},
		{"\"locale\"", `"` + private + `": "` + private + `", "locale"`}, {"\"customer_id\": \"test\"", `"customer_id": "` + private + `"`}} {
		if !strings.Contains(text, pair[0]) {
			tb.Fatalf("%s is not in the model", pair[0])
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	return []byte(strings.NewReplacer(replace...).Replace(text))
}

// privateMessages go down every way that there is through the judgement, and then some.
func privateMessages(tb testing.TB) [][]byte {
	tb.Helper()
	return [][]byte{
		mustBePrivate(tb),
		mustBePrivate(tb), // a duplicate
		mustBePrivate(tb, "Ploshad", "", private, private+"2"), // a conflict
		mustBePrivate(tb, modelUID, "refused"),                 // by the database
		mustBePrivate(tb, modelUID, "invalid", `"price": 453`, `"price": "`+private+`"`, private+"@gmail.com", private, "+9720000000", private),
		[]byte(`{"` + private + `": `),
		[]byte(`{"` + private + `": 1, "` + private + `": 2}`),
		[]byte(private + "\xff\x00"),
		[]byte(strings.Repeat(`{"`+private+`":`, 200)),
		[]byte(`"` + private + `"`),
	}
}

// refuseSQL is a trigger of the kind that people add to other people's tables.
const refuseSQL = `
create function public.refuse() returns trigger language plpgsql as $$
begin
	raise exception 'not this one: %%', (select string_agg(d::text, ' ') from deliveries d) using errcode = '23514', detail = new::text;
end $$;
grant execute on function public.refuse() to public;
create trigger refuse before insert on %s.orders for each row when (new.order_uid = 'refused') execute function public.refuse()`

func TestNoPersonalDataInLogsMetricsAndErrors(t *testing.T) {
	t.Parallel()
	postgres, broker := testservers.OwnPostgres(t), testservers.OwnBroker(t)
	db := postgres.Database()
	listener, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + listener.Addr().String()
	listener.Close()
	const token = "a secret of the operator's"
	p := mustProgram(t, []string{"ORDERBOX_DATABASE_URL=" + db.ServiceURL, "ORDERBOX_NATS_URL=" + broker.URL, "ORDERBOX_STAN_CLUSTER=" + broker.Cluster,
		"ORDERBOX_CLIENT_ID=privacy", "ORDERBOX_OPERATOR_TOKEN=" + token}, "serve", "--listen", strings.TrimPrefix(url, "http://"), "--log-level", "debug")
	testservers.Eventually(t, "the service is ready", func() bool { return askReady(t.Context(), url) == nil })
	admin := testservers.Open(t, db.AdminURL, 1)
	var generation string
	if err := admin.QueryRow(t.Context(), `select name from generations where state = 'current'`).Scan(&generation); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Exec(t.Context(), fmt.Sprintf(refuseSQL, generation)); err != nil {
		t.Fatal(err)
	}
	messages := privateMessages(t)
	mustPublish(t, broker.URL, broker.Cluster, "orders", 0, messages...)
	pool := testservers.Open(t, db.ServiceURL, 1)
	var balance verify.Balance
	testservers.Eventually(t, "everything is judged", func() bool {
		balance, err = verify.Stats(t.Context(), pool)
		return err == nil && balance.Received == int64(len(messages)) && balance.Pending == 0
	})
	if balance.Orders != 1 || balance.Duplicates != 1 || balance.DeadLetters != int64(len(messages)-2) {
		t.Errorf("%+v: not every way was gone", balance)
	}

	var told bytes.Buffer // what anybody may see, or what is written where somebody collects it
	ask := func(method, path, contentType, text string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Content-Type", contentType)
		request.Header.Set("User-Agent", private)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		said, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode >= 400 || path == "/metrics" || path == "/readyz" {
			fmt.Fprintf(&told, "%s %d: %s\n", strings.ReplaceAll(path, private, "…"), response.StatusCode, said)
		}
	}
	everything := func() {
		for _, path := range []string{"/api/v1/orders/" + private, "/api/v1/" + private, "/api/v1/orders?limit=" + private, "/api/v1/orders?after=" + private,
			"/api/v1/dead-letters?" + private + "=1", "/api/v1/dead-letters?text=" + private, "/api/v1/dead-letters?state=" + private, "/api/v1/dead-letters/" + private,
			"/api/v1/dead-letters/groups", "/api/v1/dead-letters/5", "/api/v1/dead-letters/5/payload", "/api/v1/dead-letters/5/payload?entry=" + private,
			"/orders/" + modelUID, "/metrics", "/readyz"} {
			ask(http.MethodGet, path, "", "")
		}
		note, err := json.Marshal(map[string]string{"note": private})
		if err != nil {
			t.Fatal(err)
		}
		ask(http.MethodPost, "/api/v1/dead-letters/5/retry", "application/json", string(note))
		ask(http.MethodPost, "/api/v1/dead-letters/6/discard", "application/json", string(note))
		ask(http.MethodPost, "/api/v1/dead-letters/6/discard", "application/json", `{"`+private+`": "`+private+`"}`)
		ask(http.MethodPost, "/api/v1/dead-letters/7/amend?note="+private, "application/octet-stream", string(messages[6]))
		ask(http.MethodPost, "/api/v1/dead-letters/7/amend", private, string(messages[6]))
	}
	everything()
	postgres.Crash()
	everything()
	mustPublish(t, broker.URL, broker.Cluster, "orders", 0, mustBePrivate(t, modelUID, "later"))
	testservers.Eventually(t, "the log says that the database is away", func() bool { return strings.Contains(p.log.String(), "failed, trying again") })
	postgres.Start()
	testservers.Eventually(t, "what came meanwhile is there", func() bool {
		code, _ := get(t, url+"/api/v1/orders/later", "")
		return code == http.StatusOK
	})
	broker.Wipe()
	mustPublish(t, broker.URL, broker.Cluster, "orders", 0, mustBePrivate(t, modelUID, "last"))
	testservers.Eventually(t, "the broker is followed from its beginning", func() bool {
		code, _ := get(t, url+"/api/v1/orders/last", "")
		return code == http.StatusOK
	})
	everything()
	_, out, errs := runOrderbox(t.Context(), "verify", "--data", t.TempDir(), "--database-url", db.ServiceURL, "--url", url, "--operator-token", token)
	told.WriteString(out + errs)
	p.mustStop()

	for what, text := range map[string]string{"the log": p.log.String(), "an answer or a report": told.String()} {
		for _, secret := range []string{private, token, "+9720000000"} {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s tells %q: …%s…", what, secret, text[max(0, at-300):min(len(text), at+100)])
			}
		}
	}
	if n := strings.Count(told.String(), "\n"); n < 30 || !strings.Contains(p.log.String(), "the database refused an order") {
		t.Errorf("%d lines were told: does this test still ask?", n)
	}
}
