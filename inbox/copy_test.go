package inbox_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/inbox"
	"orderbox/internal/testservers"
)

const testStream = "ORDERS@2026-05-17T12:00:00Z"

// streamed is a message of a stream.
func streamed(sequence int64, payload string) inbox.Message {
	return inbox.Message{Source: inbox.SourceJetStream, Channel: testStream, Sequence: sequence,
		StampedAt: stamp.Add(time.Hour + time.Duration(sequence)*time.Millisecond), Payload: []byte(payload)}
}

// copied is a message of a stream that is a copy of m.
func copied(sequence int64, m inbox.Message) inbox.Message {
	c := streamed(sequence, string(m.Payload))
	c.CopyOf = &inbox.Identity{Source: m.Source, Channel: m.Channel, Sequence: m.Sequence, StampedAt: m.StampedAt}
	return c
}

// mustLog returns the log and the copies as text: each with its source's first letter, its sequence and its payload, copies
// with what they are copies of.
func mustLog(t *testing.T, db testservers.DB) (log, copies string) {
	t.Helper()
	admin := testservers.Open(t, db.AdminURL, 1)
	read := func(query string) string {
		rows, err := admin.Query(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(lines, " ")
	}
	return read(`select left(source, 1) || sequence || convert_from(payload, 'UTF8') from inbox order by position`),
		read(`select left(c.source, 1) || c.sequence || '=' || left(i.source, 1) || i.sequence from copies as c
			join inbox as i on i.position = c.original order by c.position`)
}

func TestACopyIsKeptOnceWhicheverWayComesFirst(t *testing.T) {
	t.Parallel()
	a, b, c := message(1, "a"), message(2, "b"), message(3, "c")
	for name, batches := range map[string][][]inbox.Message{
		"the copies first":  {{copied(1, a), copied(2, b), copied(3, c)}, {a, b, c}},
		"the copies last":   {{a, b, c}, {copied(1, a), copied(2, b), copied(3, c)}},
		"all at once":       {{a, copied(1, a), copied(2, b), b, copied(3, c), c}},
		"some here, some":   {{a}, {copied(1, a), copied(2, b)}, {b, c}, {copied(3, c)}},
		"and again, it all": {{copied(1, a)}, {copied(1, a), copied(2, b)}, {a, b}, {copied(1, a), copied(2, b), copied(3, c)}, {c, copied(3, c)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testservers.Database(t)
			box := inbox.New(testservers.Open(t, db.ServiceURL, 2), nil)
			stored := 0
			for _, batch := range batches {
				stored += mustAppend(t, box, batch...)
			}
			if log, copies := mustLog(t, db); stored != 3 || log != "s1a s2b s3c" || copies != "j1=s1 j2=s2 j3=s3" {
				t.Errorf("%d stored, log %s, copies %s", stored, log, copies)
			}
			for _, c := range []struct {
				source, channel string
			}{{inbox.SourceSTAN, "orders"}, {inbox.SourceJetStream, testStream}} {
				sequence, _, err := box.Last(t.Context(), c.source, c.channel)
				if sequence != 3 || err != nil {
					t.Errorf("the last of %s is %d, %v", c.source, sequence, err)
				}
				spans, err := box.Missing(t.Context(), c.source, c.channel, 1, 4, stamp, 9)
				if !slices.Equal(spans, []inbox.Span{{From: 4, To: 4}}) || err != nil {
					t.Errorf("missing of %s: %v, %v", c.source, spans, err)
				}
			}
		})
	}
}

// Producers that have moved publish behind what they published before.
func TestCopiesAndOthersOfABatchKeepTheirOrder(t *testing.T) {
	t.Parallel()
	db := testservers.Database(t)
	box := inbox.New(testservers.Open(t, db.ServiceURL, 2), nil)
	if stored := mustAppend(t, box, copied(1, message(7, "a")), streamed(2, "b"), copied(3, message(8, "c")), streamed(4, "d")); stored != 4 {
		t.Errorf("%d stored", stored)
	}
	if log, copies := mustLog(t, db); log != "s7a j2b s8c j4d" || copies != "j1=s7 j3=s8" {
		t.Errorf("log %s, copies %s", log, copies)
	}
	if spans, err := box.Missing(t.Context(), inbox.SourceJetStream, testStream, 1, 5, stamp, 9); !slices.Equal(spans, []inbox.Span{{From: 5, To: 5}}) || err != nil {
		t.Errorf("missing %v, %v", spans, err)
	}
}

// Whoever says that something else is a copy takes nothing away, and puts nothing in its place.
func TestWhatIsNoCopyIsAMessageOfItsOwn(t *testing.T) {
	t.Parallel()
	db := testservers.Database(t)
	box := inbox.New(testservers.Open(t, db.ServiceURL, 2), nil)
	a := message(1, "a")
	forged := copied(2, a)
	forged.Payload = []byte("x")
	for range 2 { // and delivered again
		mustAppend(t, box, a, copied(1, a), forged)
	}
	reborn := a
	reborn.StampedAt = a.StampedAt.Add(time.Hour)
	mustAppend(t, box, copied(3, reborn)) // of a broker that counts anew
	if log, copies := mustLog(t, db); log != "s1a j2x s1a" || copies != "j1=s1 j3=s1" {
		t.Errorf("log %s, copies %s", log, copies)
	}
}

// What was detached is known by its channel, sequence and stamp. What came again in spite of it is there, and can be compared.
func TestACopyOfWhatWasDetachedIsNotedAlone(t *testing.T) {
	t.Parallel()
	db := testservers.Database(t)
	box := inbox.New(testservers.Open(t, db.ServiceURL, 2), nil)
	admin := testservers.Open(t, db.AdminURL, 1)
	a, b, c := message(1, "a"), message(2, "b"), message(3, "c")
	if _, err := admin.Exec(t.Context(), `
		insert into detached (partition, source, channel, messages, first, last, last_sequence, last_stamp)
		values ('inbox_x', $1, $2, 2, 1, 2, 2, $3)`, b.Source, b.Channel, b.StampedAt); err != nil {
		t.Fatal(err)
	}
	reborn, other := a, a
	reborn.StampedAt = c.StampedAt.Add(time.Hour)
	other.Channel = "other"
	forged := copied(6, b)
	forged.Payload = []byte("x")
	for range 2 {
		mustAppend(t, box, copied(1, a), b, copied(2, b), copied(3, c), copied(4, reborn), copied(5, other), forged)
	}
	if log, copies := mustLog(t, db); log != "s2b s3c s1a s1a j6x" || copies != "j2=s2 j3=s3 j4=s1 j5=s1" {
		t.Errorf("log %s, copies %s", log, copies)
	}
	var alone string
	if err := admin.QueryRow(t.Context(), `select string_agg(sequence::text, ' ') from copies where original = 0`).Scan(&alone); alone != "1" || err != nil {
		t.Errorf("noted alone are %q: %v", alone, err)
	}
}

// Replicas and both brokers bring the same at once.
func TestCopiesAreKeptOnceWhoeverBringsThem(t *testing.T) {
	t.Parallel()
	db := testservers.Database(t)
	const messages, batch = 400, 20
	var direct, copies []inbox.Message
	for n := range int64(messages) {
		m := message(n+1, fmt.Sprint(n))
		direct, copies = append(direct, m), append(copies, copied(n+1, m))
	}
	var group sync.WaitGroup
	for _, all := range [][]inbox.Message{direct, copies, copies} {
		box := inbox.New(testservers.Open(t, db.ServiceURL, 1), nil)
		group.Go(func() {
			for some := range slices.Chunk(all, batch) {
				if _, err := box.Append(t.Context(), some); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	log, noted := mustLog(t, db)
	if n := len(strings.Fields(log)); n != messages {
		t.Errorf("%d messages in the log", n)
	}
	if n := len(strings.Fields(noted)); n != messages {
		t.Errorf("%d copies are noted", n)
	}
}

// The limit is that of BenchmarkAppend, and a row of copies for each message.
func BenchmarkAppendCopies(b *testing.B) {
	box := inbox.New(testservers.Open(b, testservers.Database(b).ServiceURL, 2), nil)
	const size = 1000
	payload := strings.Repeat("x", 1100)
	sequence := int64(0)
	for b.Loop() {
		batch := make([]inbox.Message, size)
		for i := range batch {
			sequence++
			batch[i] = copied(sequence, message(sequence, payload))
		}
		if stored, err := box.Append(b.Context(), batch); stored != size || err != nil {
			b.Fatal(stored, err)
		}
	}
	b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "messages/s")
}
