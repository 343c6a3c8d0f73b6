package query

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"orderbox/internal/testservers"

	"github.com/jackc/pgx/v5"
)

func TestLookupsGoOnWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	p.mustProject(t, mustModel(t, "a"))
	s := newRunning(t, p, Options{Tokens: []Token{{"ann", "t"}}})
	admin := testservers.Open(t, p.AdminURL, 4)

	mustAllowConnections(t, admin.Config().ConnConfig, false)
	body(t, http.StatusOK, get(t, s, "/api/v1/orders/a"))
	body(t, http.StatusOK, get(t, s, "/api/v1/orders"))
	body(t, http.StatusNotFound, get(t, s, "/api/v1/orders/b"))
	body(t, http.StatusServiceUnavailable, get(t, s, "/api/v1/dead-letters", "Authorization", "Bearer t"))
	ready := mustDecode[readiness](t, http.StatusServiceUnavailable, get(t, s, "/readyz"))
	if ready.Checks["database"].OK || ready.Checks["cache"].Lag != nil {
		t.Errorf("ready without a database: %+v", ready)
	}

	mustAllowConnections(t, admin.Config().ConnConfig, true)
	p.pool.Reset() // its connections are gone
	p.mustProject(t, mustModel(t, "b"))
	testservers.Eventually(t, "following goes on", func() bool { _, ok := s.cache().get("b"); return ok })
}

// mustAllowConnections takes a database away from everybody, or gives it back.
func mustAllowConnections(t *testing.T, c *pgx.ConnConfig, allowed bool) {
	t.Helper()
	name := c.Database
	c.Database = "postgres"
	conn, err := pgx.ConnectConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), fmt.Sprintf(`alter database %s with allow_connections %t`, pgx.Identifier{name}.Sanitize(), allowed))
	if err == nil && !allowed {
		_, err = conn.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1`, name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The network drops every packet of the connections there are, and says nothing.
func TestSilentNetworkIsNoticed(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	network := mustProxy(t, p.ServiceURL)
	s, err := New(testservers.Open(t, network.url, 4), Options{Poll: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s.follower.limit = time.Second
	mustRun(t, s)
	network.silence()
	defer network.drop() // or the pool would wait for them to take their leave
	p.mustProject(t, mustModel(t, "a"))
	testservers.Eventually(t, "the order is seen over new connections", func() bool { _, ok := s.cache().get("a"); return ok })
}

// proxy stands between a stage and its database.
type proxy struct {
	url string

	mu    sync.Mutex
	conns []net.Conn // both ends of each
	muted atomic.Int64
}

func mustProxy(t *testing.T, database string) *proxy {
	t.Helper()
	to, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := to.Host
	to.Host = listener.Addr().String()
	p := &proxy{url: to.String()}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			age := p.keep(client, server)
			group.Go(func() { p.pass(client, server, age) })
			group.Go(func() { p.pass(server, client, age) })
		}
	})
	t.Cleanup(func() { listener.Close(); p.drop(); group.Wait() })
	return p
}

// silence lets nothing more through the connections there are, which stay open.
func (p *proxy) silence() { p.muted.Add(1) }

// drop closes all connections.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		conn.Close()
	}
}

func (p *proxy) keep(conns ...net.Conn) (age int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, conns...)
	return p.muted.Load()
}

func (p *proxy) pass(from, to net.Conn, age int64) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if p.muted.Load() == age {
			to.Write(buffer[:n])
		}
	}
}
