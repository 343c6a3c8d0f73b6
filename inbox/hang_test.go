package inbox_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"orderbox/inbox"
	"orderbox/internal/testservers"
)

// stuck is a way to the database that lets so many bytes of each connection through and then no more, while
// both ends stay connected: what a server sees of a program that is stopped while it sends.
func stuck(tb testing.TB, database string, bytes int64) (stuckURL string, reached <-chan struct{}) {
	tb.Helper()
	to, err := url.Parse(database)
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	target, signal := to.Host, make(chan struct{})
	to.Host = listener.Addr().String()
	var group sync.WaitGroup
	var once sync.Once
	ctx, cancel := context.WithCancel(tb.Context())
	tb.Cleanup(func() { cancel(); listener.Close(); group.Wait() })
	group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := new(net.Dialer).DialContext(ctx, "tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			context.AfterFunc(ctx, func() { client.Close(); server.Close() })
			group.Go(func() { io.Copy(client, server) })
			group.Go(func() {
				if n, _ := io.CopyN(server, client, bytes); n == bytes {
					once.Do(func() { close(signal) })
				}
			})
		}
	})
	return to.String(), signal
}

func TestASenderThatHangsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	db := testservers.Database(t)
	url, reached := stuck(t, db.ServiceURL, 1<<20)
	hanging := inbox.New(testservers.Open(t, url, 1), nil)
	large := message(1, "")
	large.Payload = make([]byte, 8<<20)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := hanging.Append(ctx, []inbox.Message{large}); err == nil {
			t.Error("a message of which the end never came was appended")
		}
	})
	defer group.Wait()
	defer cancel()
	<-reached

	box := inbox.New(testservers.Open(t, db.ServiceURL, 2), nil)
	patient, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if _, err := box.Append(patient, []inbox.Message{message(2, "a")}); err != nil {
		t.Errorf("another sender: %v", err)
	}
}

func TestMessagesComeInWhenNobodyCanBeNotified(t *testing.T) {
	t.Parallel()
	db := testservers.Database(t)
	admin := testservers.Open(t, db.AdminURL, 1)
	// A queue that is full refuses like this; to fill one takes gigabytes.
	if _, err := admin.Exec(t.Context(), `revoke execute on function pg_notify(text, text) from public`); err != nil {
		t.Fatal(err)
	}
	var log testservers.Buffer
	box := inbox.New(testservers.Open(t, db.ServiceURL, 2), slog.New(slog.NewTextHandler(&log, nil)))
	for i := range int64(3) {
		mustAppend(t, box, message(i+1, "a"))
	}
	if entries := mustRead(t, box, 0, 10, 1<<20); len(entries) != 3 {
		t.Errorf("%d of 3 messages in the log", len(entries))
	}
	if n := strings.Count(log.String(), "cannot be notified"); n != 1 {
		t.Errorf("said %d times, want once a minute", n)
	}
}
