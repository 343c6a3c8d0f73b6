package ingest

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/stan.go"

	"orderbox/inbox"
	"orderbox/internal/natstls"
	"orderbox/internal/testservers"
)

func TestOrdersArriveOverTLSFromABrokerWithUsers(t *testing.T) {
	t.Parallel()
	authority := testservers.NewAuthority(t)
	broker, channel := testservers.SecureBroker(t, authority), testservers.Channel(t)
	files := natstls.Files{CA: authority.File}
	files.Cert, files.Key = authority.Issue()
	conn, err := stan.Connect(broker.Cluster, "publisher", stan.NatsURL(broker.URL), stan.NatsOptions(files.Options()...))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Publish(channel, []byte("secret")); err != nil {
		t.Fatal(err)
	}

	pool := testservers.Open(t, testservers.Database(t).ServiceURL, 2)
	g, err := New(inbox.New(pool, nil), Options{URL: broker.URL, Cluster: broker.Cluster, Channel: channel, TLS: files,
		ClientID: "ingest", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	mustHold(t, pool, []string{"secret"})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestABrokerThatCannotBeTrustedGetsNothing(t *testing.T) {
	t.Parallel()
	authority, stranger := testservers.NewAuthority(t), testservers.NewAuthority(t)
	broker := testservers.SecureBroker(t, authority)
	cert, key := authority.Issue()
	_, address, _ := strings.Cut(broker.URL, "@")
	plain := testservers.OwnBroker(t)
	for name, c := range map[string]struct {
		url, advice string
		files       natstls.Files
	}{
		"signed by nobody we trust": {broker.URL, "--nats-ca", natstls.Files{Cert: cert, Key: key}},
		"signed by another":         {broker.URL, "--nats-ca", natstls.Files{CA: stranger.File, Cert: cert, Key: key}},
		"another name": {strings.Replace(broker.URL, "127.0.0.1", "localhost", 1), "--nats-url",
			natstls.Files{CA: authority.File, Cert: cert, Key: key}},
		"wrong password":            {"tls://" + testservers.BrokerUser + ":not-it@" + address, "USER:PASSWORD", natstls.Files{CA: authority.File, Cert: cert, Key: key}},
		"no user":                   {"tls://" + address, "USER:PASSWORD", natstls.Files{CA: authority.File, Cert: cert, Key: key}},
		"no certificate of ours":    {broker.URL, "", natstls.Files{CA: authority.File}}, // it hangs up, in words or without
		"speaks no TLS, by the URL": {strings.Replace(plain.URL, "nats://", "tls://", 1), "no tls://", natstls.Files{}},
		"speaks no TLS, by the CA":  {plain.URL, "no tls://", natstls.Files{CA: authority.File}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, err := New(nil, Options{URL: c.url, Cluster: broker.Cluster, Channel: "orders", ClientID: "ingest", TLS: c.files})
			if err != nil {
				t.Fatal(err)
			}
			session, err := g.connect(t.Context(), func(error) {})
			if err == nil {
				session.close()
				t.Fatal("it was talked to")
			}
			if text := err.Error(); !strings.Contains(text, c.advice) || strings.Contains(text, testservers.BrokerPassword) || strings.Contains(text, "not-it") {
				t.Errorf("it says %q, want advice with %q and no password", text, c.advice)
			}
		})
	}
}

func TestTLSFilesAreReadOnceBeforeAnythingRuns(t *testing.T) {
	t.Parallel()
	for _, files := range []natstls.Files{{CA: "/nowhere/ca.pem"}, {Cert: "cert.pem"}, {Key: "key.pem"}, {Cert: "/nowhere/c", Key: "/nowhere/k"}} {
		if _, err := New(nil, Options{URL: "nats://h", Cluster: "c", Channel: "c", ClientID: "c", TLS: files}); err == nil {
			t.Errorf("%+v are good", files)
		}
	}
}
