package testservers

import (
	"net/url"
	"strings"
	"testing"

	natsd "github.com/nats-io/nats-server/v2/server"
	stand "github.com/nats-io/nats-streaming-server/server"
)

// What a SecureBroker's user is known by.
const (
	BrokerUser     = "orders"
	BrokerPassword = "broker-password"
)

// SecureBroker starts a STAN server, in memory and for this test alone, that talks over TLS to clients of an authority's, and to one
// user only. The URL names that user.
func SecureBroker(tb testing.TB, a *Authority) STAN {
	tb.Helper()
	certFile, keyFile := a.Issue()
	options := stand.GetDefaultOptions()
	options.ID = testCluster
	// The streaming server is a client of its own NATS server.
	options.ClientCA, options.ClientCert, options.ClientKey = a.File, certFile, keyFile
	server, err := stand.RunServerWithOpts(options, &natsd.Options{
		Host: "127.0.0.1", Port: natsd.RANDOM_PORT, NoSigs: true, NoLog: true,
		Username: BrokerUser, Password: BrokerPassword,
		TLS: true, TLSVerify: true, TLSCaCert: a.File, TLSCert: certFile, TLSKey: keyFile, TLSTimeout: 10, AuthTimeout: 10,
	})
	if err != nil {
		tb.Fatalf("start a STAN server with TLS: %v", err)
	}
	tb.Cleanup(server.Shutdown)
	_, address, _ := strings.Cut(server.ClientURL(), "://")
	return STAN{Cluster: testCluster, URL: (&url.URL{Scheme: "tls", User: url.UserPassword(BrokerUser, BrokerPassword), Host: address}).String()}
}
