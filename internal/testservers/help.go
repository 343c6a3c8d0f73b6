package testservers

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/sql"
)

// Open returns a pool of at most conns connections to one of a DB's URLs. It is closed after the test.
func Open(tb testing.TB, url string, conns int32) *pgxpool.Pool {
	tb.Helper()
	pool, err := sql.Open(tb.Context(), url, "test", conns)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

const (
	patience  = 2 * time.Minute
	lookAgain = 10 * time.Millisecond
)

// Eventually returns when ok says so, and fails the test when it has not for two minutes: longer than any
// slow machine needs, for only a failing test waits so long. what completes "… does not happen".
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("%s: not within %v", what, patience)
		}
		<-time.After(lookAgain)
	}
}

// Buffer keeps what several goroutines or a process write, for a test to look at meanwhile. The zero
// value is empty.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends; it never fails.
func (l *Buffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns all that was written so far.
func (l *Buffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
