package faults_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/stan.go"

	"orderbox/internal/faults"
	"orderbox/publisher"
)

// books compares what publishers were promised with what the broker has and what the inbox has, one
// stretch of the log after the other.
type books struct {
	w    *faults.World
	pool *pgxpool.Pool

	position int64  // up to which the log is checked
	sequence uint64 // up to which the broker's store is checked
}

// sent is what was published in one stretch.
type sent struct {
	confirmed [][]byte
	again     int64 // how often a publisher sent one once more, for want of a confirmation
}

func (s *sent) add(other sent) {
	s.confirmed = append(s.confirmed, other.confirmed...)
	s.again += other.again
}

// publish publishes all of the payloads, for as long as it takes.
func publish(ctx context.Context, w *faults.World, payloads ...[]byte) (sent, error) {
	o := w.Publishing()
	o.ConnectWait, o.AckWait = time.Minute, 3*time.Second
	p, err := publisher.New(o)
	if err != nil {
		return sent{}, err
	}
	result, err := p.Publish(ctx, func(yield func([]byte, error) bool) {
		for _, payload := range payloads {
			if !yield(payload, nil) {
				return
			}
		}
	})
	if err == nil && result.Confirmed != int64(len(payloads)) {
		err = fmt.Errorf("published %+v of %d", result, len(payloads))
	}
	return sent{confirmed: payloads, again: result.Retried}, err
}

// identity is what a message is known by, in the broker's store as in the inbox.
type identity struct {
	sequence uint64
	micros   int64
}

type row struct {
	position int64
	identity
	payload []byte
}

const rowsSQL = `
select position, sequence, stamped_at, payload
from inbox
where position > $1 and source = 'stan'
order by position`

// rows is what the inbox has beyond what was checked.
func (b *books) rows(ctx context.Context) ([]row, error) {
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	rows, err := b.pool.Query(ctx, rowsSQL, b.position)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(from pgx.CollectableRow) (r row, err error) {
		var stamp time.Time
		err = from.Scan(&r.position, &r.sequence, &stamp, &r.payload)
		r.micros = stamp.UnixMicro()
		return r, err
	})
}

// lacks is how many of the payloads that were confirmed are not in the inbox.
func (b *books) lacks(ctx context.Context, s sent) (int, error) {
	rows, err := b.rows(ctx)
	if err != nil {
		return 0, err
	}
	there := map[string]bool{}
	for _, r := range rows {
		there[string(r.payload)] = true
	}
	missing := 0
	for _, payload := range s.confirmed {
		if !there[string(payload)] {
			missing++
		}
	}
	return missing, nil
}

// settle checks the stretch since the last call; the log must have come to rest. Each message that is in
// the broker's store is in the inbox exactly once, with the same bytes, and nothing else is. What came
// before the store was wiped is judged by what was confirmed: each payload at least once (unless it could
// be lost with the store), and never more often than it was published.
func (b *books) settle(tb testing.TB, s sent, c cell) {
	tb.Helper()
	wiped := c.hits(faults.Broker, faults.Wipe)
	if wiped {
		b.sequence = 0
	}
	store := b.readBroker(tb, &s)
	rows, err := b.rows(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	seen := map[identity]bool{}
	copies := map[string]int64{}
	for _, r := range rows {
		b.position = r.position
		copies[string(r.payload)]++
		if seen[r.identity] {
			tb.Errorf("sequence %d is in the inbox twice", r.sequence)
		}
		seen[r.identity] = true
		payload, stored := store[r.identity]
		switch {
		case !stored && !wiped:
			tb.Errorf("the inbox has a sequence %d that the broker has not", r.sequence)
		case stored && !bytes.Equal(payload, r.payload):
			tb.Errorf("sequence %d has other bytes in the inbox", r.sequence)
		}
	}
	for id := range store {
		if !seen[id] {
			tb.Errorf("the broker has sequence %d, the inbox has not", id.sequence)
		}
	}
	published := map[string]int64{}
	for _, payload := range s.confirmed {
		published[string(payload)]++
	}
	for payload, n := range published {
		if got := copies[payload]; got == 0 && !c.mayLose() || got > n+s.again {
			tb.Errorf("a message of %d bytes was published %d times and is in the inbox %d times", len(payload), n, got)
		}
	}
}

// readBroker reads the store from where it was read last up to a message of its own.
func (b *books) readBroker(tb testing.TB, s *sent) map[identity][]byte {
	tb.Helper()
	mark := []byte("mark " + rand.Text())
	marked, err := publish(tb.Context(), b.w, mark)
	if err != nil {
		tb.Fatal(err)
	}
	s.add(marked)
	eventually(tb, "the mark is in the inbox", func() bool {
		missing, err := b.lacks(tb.Context(), marked)
		return err == nil && missing == 0
	})
	conn, err := stan.Connect(b.w.Publishing().Cluster, "books-"+rand.Text(), stan.NatsURL(b.w.Publishing().URL))
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	messages := make(chan *stan.Msg)
	sub, err := conn.Subscribe(b.w.Publishing().Channel, func(m *stan.Msg) {
		select {
		case messages <- m:
		case <-ctx.Done():
		}
	}, stan.StartAtSequence(b.sequence+1))
	if err != nil {
		tb.Fatal(err)
	}
	defer sub.Close()
	store := map[identity][]byte{}
	for {
		select {
		case m := <-messages:
			store[identity{m.Sequence, m.Timestamp / int64(time.Microsecond)}] = m.Data
			b.sequence = max(b.sequence, m.Sequence)
			if bytes.Equal(m.Data, mark) {
				cancel()
				return store
			}
		case <-ctx.Done():
			tb.Fatal("the broker does not hand out what it stored")
		}
	}
}
