package faults_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// lookups asks for known orders all the time, and compares the answers with the first.
type lookups struct {
	url    string
	client http.Client

	mu               sync.Mutex
	uids             []string
	known            map[string]string // what was served the first time
	answered, failed int
	firstFailure     string // since the last count
}

func newLookups(url string) *lookups {
	// A service that lives answers in milliseconds; one that is paused does not.
	return &lookups{url: url, client: http.Client{Timeout: 10 * time.Second}, known: map[string]string{}}
}

// run asks until ctx ends.
func (l *lookups) run(ctx context.Context) {
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		uid, want := l.pick()
		if uid == "" {
			continue
		}
		got, err := l.get(ctx, uid)
		if ctx.Err() != nil {
			return
		}
		if err == nil && got != want {
			err = fmt.Errorf("order %s is answered otherwise than before", uid)
		}
		l.mu.Lock()
		switch {
		case err == nil:
			l.answered++
		case l.failed == 0:
			l.firstFailure = err.Error()
			fallthrough
		default:
			l.failed++
		}
		l.mu.Unlock()
	}
}

func (l *lookups) pick() (uid, want string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.uids) == 0 {
		return "", ""
	}
	uid = l.uids[rand.IntN(len(l.uids))]
	return uid, l.known[uid]
}

func (l *lookups) get(ctx context.Context, uid string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+"/api/v1/orders/"+url.PathEscape(uid), nil)
	if err != nil {
		return "", err
	}
	answer, err := l.client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("order %s: %s", uid, answer.Status)
	}
	return string(body), err
}

// learn waits until the orders are served and remembers how.
func (l *lookups) learn(tb testing.TB, uids []string) {
	tb.Helper()
	for _, uid := range uids {
		var body string
		eventually(tb, "order "+uid+" is served", func() (ok bool) {
			var err error
			body, err = l.get(tb.Context(), uid)
			return err == nil
		})
		l.mu.Lock()
		l.known[uid] = body
		l.uids = append(l.uids, uid)
		l.mu.Unlock()
	}
}

// mustAll asks for every known order once.
func (l *lookups) mustAll(tb testing.TB) {
	tb.Helper()
	l.mu.Lock()
	uids := slices.Clone(l.uids)
	l.mu.Unlock()
	for _, uid := range uids {
		if got, err := l.get(tb.Context(), uid); err != nil || got != l.known[uid] {
			tb.Errorf("order %s is not served as before: %v", uid, err)
		}
	}
}

// count returns what was asked since the last call.
func (l *lookups) count() (answered, failed int, firstFailure string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	answered, failed, firstFailure = l.answered, l.failed, l.firstFailure
	l.answered, l.failed, l.firstFailure = 0, 0, ""
	return answered, failed, firstFailure
}
