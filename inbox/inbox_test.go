package inbox_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"orderbox/inbox"
	"orderbox/internal/testservers"
)

func TestMain(m *testing.M) { testservers.Main(m) }

func mustAppend(tb testing.TB, box *inbox.Inbox, messages ...inbox.Message) int {
	tb.Helper()
	stored, err := box.Append(tb.Context(), messages)
	if err != nil {
		tb.Fatal(err)
	}
	return stored
}

func mustRead(tb testing.TB, box *inbox.Inbox, after int64, limit, maxBytes int) []inbox.Entry {
	tb.Helper()
	entries, err := box.Read(tb.Context(), after, limit, maxBytes)
	if err != nil {
		tb.Fatal(err)
	}
	return entries
}

var stamp = time.Date(2026, 5, 17, 12, 0, 0, 123456789, time.UTC)

func message(sequence int64, payload string) inbox.Message {
	return inbox.Message{Source: inbox.SourceSTAN, Channel: "orders", Sequence: sequence,
		StampedAt: stamp.Add(time.Duration(sequence) * time.Millisecond), Payload: []byte(payload)}
}

func TestEveryByteIsKept(t *testing.T) {
	t.Parallel()
	box := inbox.New(testservers.Open(t, testservers.Database(t).ServiceURL, 2), nil)
	half := make([]byte, 512<<10)
	for i := range half {
		half[i] = byte(rand.Uint32())
	}
	payloads := [][]byte{nil, {}, {0}, []byte("\x00\x01\xff\xfe"), []byte("{\"a\":\"\\u0000\"}"), []byte("Привет 🏠"), half}
	var messages []inbox.Message
	for i, p := range payloads {
		m := message(int64(i+1), "")
		m.Payload = p
		messages = append(messages, m)
	}
	if stored := mustAppend(t, box, messages...); stored != len(payloads) {
		t.Fatalf("%d stored, want %d", stored, len(payloads))
	}
	for i, e := range mustRead(t, box, 0, 100, 1<<30) {
		if !bytes.Equal(e.Payload, payloads[i]) {
			t.Errorf("payload %d came back otherwise", i)
		}
	}
}

func TestARedeliveryIsTheSameMessageAndARestartedBrokerBringsNewOnes(t *testing.T) {
	t.Parallel()
	box := inbox.New(testservers.Open(t, testservers.Database(t).ServiceURL, 2), nil)
	mustAppend(t, box, message(1, "a"), message(2, "b"))
	if stored := mustAppend(t, box, message(2, "b"), message(3, "c"), message(3, "c")); stored != 1 {
		t.Errorf("%d of two redeliveries and one new message stored", stored)
	}
	reborn := message(1, "d")
	reborn.StampedAt = reborn.StampedAt.Add(time.Hour)
	other := message(1, "e")
	other.Channel = "other"
	if stored := mustAppend(t, box, reborn, other); stored != 2 {
		t.Errorf("%d stored of a new sequence 1 and of another channel's, want both", stored)
	}
	var got strings.Builder
	for _, e := range mustRead(t, box, 0, 100, 1<<20) {
		got.Write(e.Payload)
	}
	if got.String() != "abcde" {
		t.Errorf("the log reads %q", got.String())
	}
}

func TestAnyStampIsStored(t *testing.T) {
	t.Parallel()
	db := testservers.Database(t)
	box := inbox.New(testservers.Open(t, db.ServiceURL, 2), nil)
	for i, at := range []time.Time{time.Unix(0, 0), time.Unix(0, -1<<63), time.Unix(0, 1<<63-1), time.Now(), time.Now().AddDate(0, 1, 0)} {
		m := message(int64(i+1), "x")
		m.StampedAt = at
		if mustAppend(t, box, m) != 1 {
			t.Errorf("a message stamped %v is not stored", at)
		}
	}
	var partitions int
	const partitionsSQL = `select count(distinct tableoid) from inbox`
	if err := testservers.Open(t, db.AdminURL, 1).QueryRow(t.Context(), partitionsSQL).Scan(&partitions); err != nil {
		t.Fatal(err)
	}
	if partitions != 3 {
		t.Errorf("the messages lie in %d partitions, want this month's, the next one's and the catch-all", partitions)
	}
}

// Months have partitions before they begin, and one that lacks its own gets it with what came for it meanwhile: after a
// long silence, or a clock that was wrong.
func TestEveryMonthHasItsPartitionAhead(t *testing.T) {
	t.Parallel()
	db := testservers.Database(t)
	pool, admin := testservers.Open(t, db.ServiceURL, 2), testservers.Open(t, db.AdminURL, 1)
	month := func(ahead int) time.Time {
		now := time.Now().UTC()
		return time.Date(now.Year(), now.Month()+time.Month(ahead), 1, 0, 0, 0, 0, time.UTC)
	}
	name := func(ahead int) string { return month(ahead).Format("inbox_2006_01") }
	lies := func(m inbox.Message) (partition string) {
		t.Helper()
		const liesSQL = `select tableoid::regclass::text from inbox where sequence = $1`
		if err := admin.QueryRow(t.Context(), liesSQL, m.Sequence).Scan(&partition); err != nil {
			t.Fatal(err)
		}
		return partition
	}
	at := func(sequence int64, ahead int) inbox.Message {
		m := message(sequence, "x")
		m.StampedAt = month(ahead).Add(time.Hour)
		return m
	}
	box := inbox.New(pool, nil)
	for ahead := range 3 {
		m := at(int64(ahead+1), ahead)
		mustAppend(t, box, m)
		if got := lies(m); got != name(ahead) {
			t.Errorf("a message of %s lies in %s", name(ahead), got)
		}
	}
	far := at(4, 3)
	mustAppend(t, box, far)
	if got := lies(far); got != "inbox_other" {
		t.Errorf("a message of %s lies in %s", name(3), got)
	}

	// As after a silence of months, with messages that came before anything could be prepared.
	for ahead := range 3 {
		const dropSQL = `
			begin;
			alter table inbox detach partition %[1]s;
			insert into inbox (source, channel, sequence, stamped_at, payload) select source, channel, sequence, stamped_at, payload from %[1]s;
			drop table %[1]s;
			commit`
		if _, err := admin.Exec(t.Context(), fmt.Sprintf(dropSQL, name(ahead)), pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	if got := lies(at(1, 0)); got != "inbox_other" {
		t.Fatalf("it lies in %s", got)
	}
	mustAppend(t, inbox.New(pool, nil), at(5, 0)) // a service that was started
	for sequence, ahead := range map[int64]int{1: 0, 2: 1, 3: 2, 5: 0} {
		if got := lies(at(sequence, ahead)); got != name(ahead) {
			t.Errorf("message %d of %s lies in %s", sequence, name(ahead), got)
		}
	}
	if stored := mustAppend(t, box, at(1, 0), at(2, 1)); stored != 0 {
		t.Errorf("%d are new, that were moved", stored)
	}
	if n := len(mustRead(t, box, 0, 100, 1<<20)); n != 5 {
		t.Errorf("the log has %d messages", n)
	}
}

func TestABatchIsBoundedInMessagesAndBytes(t *testing.T) {
	t.Parallel()
	box := inbox.New(testservers.Open(t, testservers.Database(t).ServiceURL, 2), nil)
	big := strings.Repeat("x", 1000)
	mustAppend(t, box, message(1, big), message(2, big), message(3, "small"), message(4, big))
	for _, c := range []struct{ after, limit, bytes, want int }{
		{0, 2, 1 << 20, 2}, {0, 9, 2500, 3}, {0, 9, 1, 1}, {1, 9, 1500, 2}, {4, 9, 1500, 0},
	} {
		if got := len(mustRead(t, box, int64(c.after), c.limit, c.bytes)); got != c.want {
			t.Errorf("after %d, at most %d messages and %d bytes: %d entries, want %d", c.after, c.limit, c.bytes, got, c.want)
		}
	}
}

func TestAReaderIsToldWhatIsAhead(t *testing.T) {
	t.Parallel()
	pool := testservers.Open(t, testservers.Database(t).ServiceURL, 2)
	box := inbox.New(pool, nil)
	mustAppend(t, box, message(1, "a"), message(2, "b"), message(3, strings.Repeat("x", 1000)))
	for _, c := range []struct {
		limit, bytes int
		want         []bool
	}{
		{9, 1 << 20, []bool{false, false, true}},
		{3, 1 << 20, []bool{false, false, false}}, // there may be more
		{2, 1 << 20, []bool{false, false}},
		{9, 100, []bool{false, false}},
		{9, 1, []bool{false}},
	} {
		var last []bool
		for _, e := range mustRead(t, box, 0, c.limit, c.bytes) {
			last = append(last, e.Ahead.Last)
		}
		if !slices.Equal(last, c.want) {
			t.Errorf("of at most %d messages and %d bytes these were the last: %v, want %v", c.limit, c.bytes, last, c.want)
		}
	}
	adopted := func() int64 { return mustRead(t, box, 2, 9, 1<<20)[0].Ahead.Adopted }
	if got := adopted(); got != 0 {
		t.Errorf("schema %d is said to be adopted before one was", got)
	}
	for range 2 {
		var id int64
		err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) (err error) {
			id, err = inbox.Adopt(t.Context(), tx, inbox.Schema{Version: "v", Fingerprint: "f", Source: []byte("{}")})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := adopted(); got != id {
			t.Errorf("schema %d was adopted last, and %d is said to be", id, got)
		}
	}
}

func TestTheServiceMayAppendAndReadAndNothingElse(t *testing.T) {
	t.Parallel()
	db := testservers.Database(t)
	service := testservers.Open(t, db.ServiceURL, 2)
	mustAppend(t, inbox.New(service, nil), message(1, "a"))
	for _, statement := range []string{
		"update inbox set payload = ''", "delete from inbox", "truncate inbox", "drop table inbox",
		"alter table inbox add column x integer", "update inbox_other set payload = ''", "delete from inbox_other",
		"truncate inbox_other", "insert into inbox_other (source) values ('x')", "select 1 from inbox_other",
		"create table sneaky (x integer)", "update goose_db_version set version_id = 0",
	} {
		_, err := service.Exec(t.Context(), statement)
		if pgErr, ok := err.(*pgconn.PgError); !ok || pgErr.Code != "42501" {
			t.Errorf("%q as the service: %v, want permission denied", statement, err)
		}
	}
	reader := testservers.Open(t, db.ReaderURL, 1)
	if _, err := inbox.New(reader, nil).Append(t.Context(), []inbox.Message{message(2, "b")}); err == nil {
		t.Error("the reader may append")
	}
	if len(mustRead(t, inbox.New(reader, nil), 0, 10, 1<<20)) != 1 {
		t.Error("the reader cannot read")
	}
}

func TestWhatIsKnownOfAChannel(t *testing.T) {
	t.Parallel()
	box := inbox.New(testservers.Open(t, testservers.Database(t).ServiceURL, 2), nil)
	if sequence, _, err := box.Last(t.Context(), inbox.SourceSTAN, "orders"); sequence != 0 || err != nil {
		t.Errorf("the last message of an empty channel is %d, %v", sequence, err)
	}
	mustAppend(t, box, message(1, "a"), message(2, "b"), message(5, "c"))
	sequence, at, err := box.Last(t.Context(), inbox.SourceSTAN, "orders")
	if want := message(5, "").StampedAt.Truncate(time.Microsecond); sequence != 5 || !at.Equal(want) || err != nil {
		t.Errorf("the last message is %d at %v, %v", sequence, at, err)
	}
	for _, c := range []struct {
		from, to int64
		since    time.Time
		limit    int
		want     []inbox.Span
	}{
		{1, 2, stamp, 9, nil},
		{1, 5, stamp, 9, []inbox.Span{{From: 3, To: 4}}},
		{0, 7, stamp, 9, []inbox.Span{{From: 0, To: 0}, {From: 3, To: 4}, {From: 6, To: 7}}},
		{0, 7, stamp, 2, []inbox.Span{{From: 0, To: 0}, {From: 3, To: 4}}},
		{1, 3, at, 9, []inbox.Span{{From: 1, To: 3}}}, // what there is was stamped before
		{5, 5, at, 9, nil},
		{8, 9, stamp, 9, []inbox.Span{{From: 8, To: 9}}},
		{5, 3, stamp, 9, nil},
	} {
		spans, err := box.Missing(t.Context(), inbox.SourceSTAN, "orders", c.from, c.to, c.since, c.limit)
		if !slices.Equal(spans, c.want) || err != nil {
			t.Errorf("missing of %d to %d: %v, %v; want %v", c.from, c.to, spans, err, c.want)
		}
	}
}

// The limit is one commit per append; the lock and the notification are inside it.
func BenchmarkAppend(b *testing.B) {
	box := inbox.New(testservers.Open(b, testservers.Database(b).ServiceURL, 2), nil)
	const size = 1000
	payload := strings.Repeat("x", 1100)
	sequence := int64(0)
	for b.Loop() {
		batch := make([]inbox.Message, size)
		for i := range batch {
			sequence++
			batch[i] = message(sequence, payload)
		}
		if stored, err := box.Append(context.Background(), batch); stored != size || err != nil {
			b.Fatal(stored, err)
		}
	}
	b.ReportMetric(float64(size*b.N)/b.Elapsed().Seconds(), "messages/s")
}
