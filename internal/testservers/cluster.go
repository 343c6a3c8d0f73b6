package testservers

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	natsd "github.com/nats-io/nats-server/v2/server"
)

// OwnedCluster is a cluster of three NATS servers with JetStream, of one test, which stops and starts each as it likes. Its
// methods fail the test when they cannot; call them from the test's goroutine, one at a time.
type OwnedCluster struct {
	URL     string // of all three
	tb      testing.TB
	options [3]*natsd.Options
	servers [3]*natsd.Server
}

// OwnCluster starts a cluster for this test alone. What it confirms is synced. It ends with the test.
func OwnCluster(tb testing.TB) *OwnedCluster {
	tb.Helper()
	c := &OwnedCluster{tb: tb}
	var routes []*url.URL
	var urls []string
	dir := Dir(tb)
	for i := range c.options {
		c.options[i] = &natsd.Options{ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: mustPort(tb), NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: filepath.Join(dir, fmt.Sprint(i)), SyncAlways: true,
			Cluster: natsd.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: mustPort(tb)}}
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", c.options[i].Cluster.Port)})
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", c.options[i].Port))
	}
	c.URL = strings.Join(urls, ",")
	for i := range c.options {
		c.options[i].Routes = routes
		c.Start(i)
	}
	tb.Cleanup(func() {
		for i := range c.servers {
			c.Stop(i)
		}
	})
	return c
}

// mustPort returns a port that was free a moment ago.
func mustPort(tb testing.TB) int {
	tb.Helper()
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// Start starts the server n0, n1 or n2 by its number, on the same port and store. The cluster may take a while to go on.
func (c *OwnedCluster) Start(i int) {
	c.tb.Helper()
	server, err := natsd.NewServer(c.options[i].Clone())
	if err != nil {
		c.tb.Fatal(err)
	}
	c.servers[i] = server
	go server.Start()
	if !server.ReadyForConnections(patience) {
		c.tb.Fatalf("server n%d takes no connections", i)
	}
}

// Stop stops a server; what it confirmed stays in its store.
func (c *OwnedCluster) Stop(i int) {
	c.servers[i].Shutdown()
	c.servers[i].WaitForShutdown()
}

// Leader waits until a stream has three replicas that are up to date, and returns the number of the server that leads it.
func (c *OwnedCluster) Leader(stream string) (leader int) {
	c.tb.Helper()
	Eventually(c.tb, "the stream has a leader, and three replicas that are up to date", func() bool {
		current := 0
		leader = -1
		for i, server := range c.servers {
			if server.JetStreamIsStreamCurrent(natsd.DEFAULT_GLOBAL_ACCOUNT, stream) {
				current++
			}
			if server.JetStreamIsStreamLeader(natsd.DEFAULT_GLOBAL_ACCOUNT, stream) {
				leader = i
			}
		}
		return leader >= 0 && current == len(c.servers)
	})
	return leader
}
