package query

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"orderbox/internal/testservers"
)

// short is every timeout of the server here, and pulse is how often a slow client does something.
const (
	short = 300 * time.Millisecond
	pulse = 20 * time.Millisecond
)

// mustListen serves the stage on a port of this machine, as it is served for real but for the length of its timeouts.
func mustListen(tb testing.TB, s *Server) (address string) {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := s.HTTPServer()
	for _, timeout := range []*time.Duration{&server.ReadTimeout, &server.WriteTimeout, &server.IdleTimeout} {
		if *timeout <= 0 {
			tb.Fatal("a timeout is not set: what hangs there hangs for ever")
		}
		*timeout = short
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	tb.Cleanup(func() {
		server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			tb.Error(err)
		}
	})
	return listener.Addr().String()
}

// slowly sends text byte by byte until the server does not take any more.
func slowly(conn net.Conn, text string) {
	clock := time.NewTicker(pulse)
	defer clock.Stop()
	for i := range len(text) {
		<-clock.C
		if _, err := conn.Write([]byte{text[i]}); err != nil {
			return
		}
	}
}

func TestSlowClientsAreEndedAndHoldUpNobody(t *testing.T) {
	t.Parallel()
	address := mustListen(t, idle(t, Options{Tokens: twoTokens}))
	// Longer to send at their pace than the test's patience.
	long := strings.Repeat("x", 20_000)
	clients := map[string]func(net.Conn){
		"says nothing":             func(net.Conn) {},
		"a header byte by byte":    func(c net.Conn) { slowly(c, "GET / HTTP/1.1\r\nHost: orderbox\r\nX-Slow: "+long) },
		"a header that never ends": func(c net.Conn) { io.WriteString(c, "GET / HTTP/1.1\r\nHost: orderbox\r\n") },
		"a body byte by byte": func(c net.Conn) {
			io.WriteString(c, "POST /login HTTP/1.1\r\nHost: orderbox\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 4000\r\n\r\ntoken=")
			slowly(c, long)
		},
		"a body chunk by chunk": func(c net.Conn) {
			io.WriteString(c, "POST /login HTTP/1.1\r\nHost: orderbox\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n")
			slowly(c, strings.Repeat("1\r\nx\r\n", 4000))
		},
		"stays after its answer": func(c net.Conn) { io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: orderbox\r\n\r\n") },
	}
	const each = 20
	ended := make(chan string, each*len(clients))
	for name, behave := range clients {
		for range each {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go behave(conn)
			go func() {
				io.Copy(io.Discard, conn) // until the server hangs up
				ended <- name
			}()
		}
	}
	// It never reads what it asks for, again and again, until the server stops taking more.
	deaf, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	deaf.(*net.TCPConn).SetReadBuffer(4096)
	hungUp := make(chan struct{})
	go func() {
		defer close(hungUp)
		for {
			if _, err := io.WriteString(deaf, "GET / HTTP/1.1\r\nHost: orderbox\r\n\r\n"); err != nil {
				return
			}
		}
	}()

	for range 50 {
		r, err := http.Get("http://" + address + "/healthz")
		if err != nil {
			t.Fatalf("others are held up: %v", err)
		}
		r.Body.Close()
	}
	left := map[string]int{}
	for name := range clients {
		left[name] = each
	}
	testservers.Eventually(t, fmt.Sprintf("the slow ones are ended: %v", left), func() bool {
		for {
			select {
			case name := <-ended:
				if left[name]--; left[name] == 0 {
					delete(left, name)
				}
			default:
				return len(left) == 0
			}
		}
	})
	<-hungUp
}

func TestHeadersAndAddressesAreBounded(t *testing.T) {
	t.Parallel()
	address := mustListen(t, idle(t, Options{}))
	for name, request := range map[string]string{
		"one header":   "GET / HTTP/1.1\r\nHost: orderbox\r\nX-Large: " + strings.Repeat("x", 64<<10) + "\r\n\r\n",
		"many headers": "GET / HTTP/1.1\r\nHost: orderbox\r\n" + strings.Repeat("X-Many: x\r\n", 10_000) + "\r\n",
		"the address":  "GET /" + strings.Repeat("x", 64<<10) + " HTTP/1.1\r\nHost: orderbox\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		go io.WriteString(conn, request)
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		conn.Close()
	}
}

// endless is a body without an end; it counts what was read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	if e.read += len(p); e.read > 64<<20 {
		return 0, os.ErrDeadlineExceeded
	}
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
