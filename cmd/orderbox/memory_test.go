// The race detector multiplies memory.
//go:build linux && !race

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"orderbox"
	"orderbox/internal/testservers"
	"orderbox/publisher"
)

// What docs/OPERATING.md promises about memory.
const (
	memoryBeside        = 1 << 30 // all but the cache and the connections
	memoryPerConnection = 32 << 10
)

// memory returns a figure of /proc/PID/status in bytes: VmRSS is now, VmHWM the most there ever was.
func (p *program) memory(name string) int64 {
	p.tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\n"+name+":")
	figure, _, _ := strings.Cut(rest, "kB")
	n, err := strconv.ParseInt(strings.TrimSpace(figure), 10, 64)
	if err != nil {
		p.tb.Fatalf("%s in /proc: %v", name, err)
	}
	return n << 10
}

// large is an order as large as the broker permits a message to be, or nearly; with so many items.
func large(tb testing.TB, uid string, items int) []byte {
	tb.Helper()
	var o orderbox.Order
	if err := json.Unmarshal(publisher.Model, &o); err != nil {
		tb.Fatal(err)
	}
	o.OrderUID = uid
	o.Items[0].Name = strings.Repeat("x", 200)
	o.Items[0].Brand = strings.Repeat("y", 200)
	for len(o.Items) < items {
		o.Items = append(o.Items, o.Items[0])
	}
	order := o.JSON()
	const room = 1<<20 - 1<<10
	if len(order) > room {
		tb.Fatalf("an order of %d bytes", len(order))
	}
	padded := fmt.Appendf(nil, `{"padding":"%s",`, strings.Repeat("z", room-len(order)))
	return append(padded, order[1:]...)
}

// A burst of small messages, and then of the largest there are, while the database hangs.
func TestABurstIntoAPausedDatabaseStaysWithinTheMemoryLimit(t *testing.T) {
	t.Parallel()
	postgres, broker, channel := testservers.OwnPostgres(t), testservers.Broker(t), testservers.Channel(t)
	db := postgres.Database()
	p, address := mustServe(t, db, broker, channel)
	var small [][]byte
	dead := int64(0)
	for m := range publisher.Messages(41, sized(200_000, 10_000), 0.1) {
		small = append(small, m.Payload)
		if m.Verdict != publisher.VerdictOrder && m.Verdict != publisher.VerdictDuplicate {
			dead++
		}
	}
	var huge [][]byte
	for i := range sized(1000, 80) {
		switch {
		case i%20 == 0:
			huge = append(huge, large(t, fmt.Sprint("large-", i), 1000))
		case i%2 == 0:
			huge = append(huge, large(t, fmt.Sprint("large-", i), 1))
		default: // the most values that are read, in the least space
			huge = append(huge, append([]byte("["), bytes.Repeat([]byte("1,"), 1<<19-1<<10)...))
			dead++
		}
	}
	messages := int64(0)
	for _, burst := range [][][]byte{small, huge} {
		postgres.Pause()
		mustPublish(t, broker.URL, broker.Cluster, channel, 0, burst...)
		testservers.Eventually(t, "the service says that it is not ready", func() bool {
			return askReady(t.Context(), "http://"+address) != nil
		})
		t.Logf("most memory while the database hangs: %d MiB", p.memory("VmHWM")>>20)
		postgres.Resume()
		messages += int64(len(burst))
		report := mustDecide(t, db, messages)
		t.Logf("%d messages decided, most memory so far: %d MiB", report.Received, p.memory("VmHWM")>>20)
	}
	report := mustDecide(t, db, messages)
	if report.Received != messages || report.DeadLetters != dead || report.Gaps != 0 {
		t.Errorf("received %d, dead letters %d, gaps %d; want %d, %d, 0", report.Received, report.DeadLetters, report.Gaps, messages, dead)
	}
	testservers.Eventually(t, "the service is ready again", func() bool { return askReady(t.Context(), "http://"+address) == nil })
	cache := int64(mustMeasure(t, "http://"+address, "orderbox_cache_bytes"))
	if peak, limit := p.memory("VmHWM"), 2*cache+memoryBeside; peak > limit {
		t.Errorf("took %d MiB, more than the limit of %d MiB with a cache of %d MiB", peak>>20, limit>>20, cache>>20)
	}
	p.mustStop()
}

// A client that asks and does not read costs a connection, whatever it asked for.
func TestSlowClientsOfLargeAnswersTakeNoMemory(t *testing.T) {
	t.Parallel()
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	p, address := mustServe(t, db, broker, channel)
	const orders = 30
	var payloads [][]byte
	for i := range orders {
		payloads = append(payloads, large(t, fmt.Sprint("large-", i), 1000))
	}
	mustPublish(t, broker.URL, broker.Cluster, channel, 0, payloads...)
	mustDecide(t, db, orders)
	testservers.Eventually(t, "the cache has them all", func() bool { return mustMeasure(t, "http://"+address, "orderbox_cache_orders") == orders })

	clients := sized(2000, 200)
	for _, path := range []string{"/api/v1/orders/large-7", "/api/v1/orders?limit=100"} {
		before := p.memory("VmRSS")
		for range clients {
			conn := mustDial(t, address)
			if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
		}
		// Each has begun to be answered when one that came after them has been.
		if code, _ := get(t, "http://"+address+"/api/v1/orders/large-3", ""); code != http.StatusOK {
			t.Errorf("a lookup beside slow clients: %d", code)
		}
		grown := p.memory("VmRSS") - before
		t.Logf("%d slow clients of %s: %d KiB more memory each", clients, path, grown/int64(clients)>>10)
		if most := int64(clients)*memoryPerConnection + 64<<20; grown > most {
			t.Errorf("%d slow clients of %s took %d MiB, want at most %d", clients, path, grown>>20, most>>20)
		}
	}
	p.mustStop()
}

func mustDial(tb testing.TB, address string) net.Conn {
	tb.Helper()
	conn, err := new(net.Dialer).DialContext(tb.Context(), "tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	return conn
}

func TestIdleConnectionsAreCheapAndBounded(t *testing.T) {
	t.Parallel()
	idle := sized(10_000, 2000)
	if files := maxOpenFiles(); files < idle+2*sparedFiles {
		t.Skipf("%d open files are permitted, too few for %d connections (ulimit -n)", files, idle)
	}
	db, broker, channel := testservers.Database(t), testservers.Broker(t), testservers.Channel(t)
	p, address := mustServe(t, db, broker, channel, "--max-connections", strconv.Itoa(idle+10))
	http.DefaultClient.CloseIdleConnections()
	before := p.memory("VmRSS")
	var group sync.WaitGroup
	var conns []net.Conn
	for range idle {
		conns = append(conns, mustDial(t, address))
	}
	for _, part := range [][]net.Conn{conns[:idle/2], conns[idle/2:]} {
		group.Go(func() {
			for _, conn := range part {
				mustAnswer(t, conn)
			}
		})
	}
	group.Wait()
	grown := p.memory("VmRSS") - before
	t.Logf("%d idle connections: %d KiB of memory each", idle, grown/int64(idle)>>10)
	if grown > int64(idle)*memoryPerConnection {
		t.Errorf("%d idle connections took %d MiB", idle, grown>>20)
	}
	var more []net.Conn
	for range 10 { // what is left of the limit is used
		conn := mustDial(t, address)
		mustAnswer(t, conn)
		more = append(more, conn)
	}
	late := mustDial(t, address)
	fmt.Fprint(late, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	late.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := late.Read(make([]byte, 1)); err == nil {
		t.Error("one connection more than the limit is answered")
	}
	more[0].Close()
	late.SetReadDeadline(time.Time{})
	if _, err := http.ReadResponse(bufio.NewReader(late), nil); err != nil {
		t.Errorf("when another has ended it must be answered: %v", err)
	}
	if inFull { // for IdleTimeout
		conns[0].SetReadDeadline(time.Now().Add(5 * time.Minute))
		if _, err := conns[0].Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("an idle connection ends with %v", err)
		}
	}
	p.mustStop()
}

// mustAnswer asks over a connection and reads the answer, which leaves it open.
func mustAnswer(tb testing.TB, conn net.Conn) {
	tb.Helper()
	fmt.Fprint(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		tb.Errorf("no answer: %v", err)
		return
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
}
