package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/inbox"
	"orderbox/internal/testservers"
)

type decision struct {
	Position, Entry int64 // Entry is 0 for none
	Kind, By, Note  string
}

func mustDecisions(tb testing.TB, pool *pgxpool.Pool) []decision {
	tb.Helper()
	rows, err := pool.Query(tb.Context(), `select position, coalesce(entry, 0), kind, decided_by, note from decisions order by id`)
	if err != nil {
		tb.Fatal(err)
	}
	decisions, err := pgx.CollectRows(rows, pgx.RowToStructByPos[decision])
	if err != nil {
		tb.Fatal(err)
	}
	return decisions
}

// newLog returns a log with the messages a, b and c at the positions 1, 2 and 3.
func newLog(tb testing.TB) (*inbox.Inbox, *pgxpool.Pool) {
	tb.Helper()
	pool := testservers.Open(tb, testservers.Database(tb).ServiceURL, 4)
	box := inbox.New(pool, nil)
	mustAppend(tb, box, message(1, "a"), message(2, "b"), message(3, "c"))
	return box, pool
}

func mustRetry(tb testing.TB, box *inbox.Inbox, positions ...int64) []int64 {
	tb.Helper()
	entries, err := box.Retry(tb.Context(), "ann", "", positions)
	if err != nil {
		tb.Fatal(err)
	}
	return entries
}

func TestARetryIsTheSameBytesAtANewPosition(t *testing.T) {
	t.Parallel()
	box, pool := newLog(t)
	entries, err := box.Retry(t.Context(), "ann", "why not", []int64{3, 1, 3})
	if err != nil || len(entries) != 3 || entries[0] != entries[2] {
		t.Fatalf("entries %v, %v", entries, err)
	}
	want := []decision{{1, entries[1], "retry", "ann", "why not"}, {3, entries[0], "retry", "ann", "why not"}}
	if got := mustDecisions(t, pool); !slices.Equal(got, want) {
		t.Errorf("decisions %+v, want %+v", got, want)
	}
	read := mustRead(t, box, 3, 10, 1<<20)
	if len(read) != 2 {
		t.Fatalf("%d new entries, want 2", len(read))
	}
	for i, want := range []struct {
		position, original int64
		payload            string
	}{{entries[1], 1, "a"}, {entries[0], 3, "c"}} {
		if e := read[i]; e.Position != want.position || e.Original != want.original || string(e.Payload) != want.payload {
			t.Errorf("entry %d: %+v, want %+v", i, e, want)
		}
	}
}

func TestAnAmendmentKeepsEveryByteAndTheOriginalToo(t *testing.T) {
	t.Parallel()
	box, pool := newLog(t)
	for _, payload := range []string{"", "\x00\xff", strings.Repeat("x", 1<<20)} {
		entry := mustAmend(t, box, "mended", []int64{2}, []byte(payload))[0]
		read := mustRead(t, box, entry-1, 1, 1<<30)
		if e := read[0]; e.Position != entry || e.Original != 2 || string(e.Payload) != payload {
			t.Errorf("%d bytes came back as entry %d of %d with %d bytes", len(payload), e.Position, e.Original, len(e.Payload))
		}
		decisions := mustDecisions(t, pool)
		if got, want := decisions[len(decisions)-1], (decision{2, entry, "amend", "ann", "mended"}); got != want {
			t.Errorf("decision %+v, want %+v", got, want)
		}
	}
	if _, err := box.Amend(t.Context(), "ann", "", []int64{2}, [][]byte{nil}); err != nil {
		t.Errorf("no bytes at all: %v", err)
	}
	if e := mustRead(t, box, 1, 1, 1<<20)[0]; string(e.Payload) != "b" {
		t.Error("the original changed")
	}
}

func TestManyAreAmendedAtOnceInTheirOrder(t *testing.T) {
	t.Parallel()
	box, pool := newLog(t)
	mustAmend(t, box, "", []int64{1}, []byte{})
	entries := mustAmend(t, box, "mended", []int64{3, 1, 2}, []byte("C"), []byte("A"), []byte("B"))
	if !slices.IsSorted(entries) || len(entries) != 3 {
		t.Fatalf("entries %v", entries)
	}
	for i, want := range []struct {
		original int64
		payload  string
	}{{3, "C"}, {1, "A"}, {2, "B"}} {
		if e := mustRead(t, box, entries[i]-1, 1, 1<<20)[0]; e.Original != want.original || string(e.Payload) != want.payload {
			t.Errorf("entry %d: %+v, want %+v", entries[i], e, want)
		}
		if got := mustDecisions(t, pool)[i+1]; got != (decision{want.original, entries[i], "amend", "ann", "mended"}) {
			t.Errorf("decision %+v", got)
		}
	}
	var numbers []int64
	err := pool.QueryRow(t.Context(), `select array_agg(sequence order by position) from inbox where channel = 'amend'`).Scan(&numbers)
	if err != nil || !slices.Equal(numbers, []int64{1, 2, 3, 4}) {
		t.Errorf("numbered %v, %v", numbers, err)
	}
}

func mustAmend(tb testing.TB, box *inbox.Inbox, note string, positions []int64, payloads ...[]byte) []int64 {
	tb.Helper()
	entries, err := box.Amend(tb.Context(), "ann", note, positions, payloads)
	if err != nil {
		tb.Fatal(err)
	}
	return entries
}

func TestADiscardAndItsReversalEnterNothing(t *testing.T) {
	t.Parallel()
	box, pool := newLog(t)
	if err := box.Discard(t.Context(), "ann", "spam", []int64{2, 1, 2}); err != nil {
		t.Fatal(err)
	}
	if err := box.Reopen(t.Context(), "bob", "", []int64{1}); err != nil {
		t.Fatal(err)
	}
	want := []decision{{1, 0, "discard", "ann", "spam"}, {2, 0, "discard", "ann", "spam"}, {1, 0, "reopen", "bob", ""}}
	if got := mustDecisions(t, pool); !slices.Equal(got, want) {
		t.Errorf("decisions %+v, want %+v", got, want)
	}
	if n := len(mustRead(t, box, 3, 10, 1<<20)); n != 0 {
		t.Errorf("%d entries", n)
	}
}

func TestNothingIsDecidedAboutWhatIsNoMessage(t *testing.T) {
	t.Parallel()
	box, pool := newLog(t)
	retry := mustRetry(t, box, 1)[0]
	before := len(mustDecisions(t, pool))
	for _, positions := range [][]int64{{1, 999}, {retry}, {0}, {-1, 2}} {
		_, err := box.Retry(t.Context(), "ann", "", positions)
		for kind, err := range map[string]error{
			"retry": err, "discard": box.Discard(t.Context(), "ann", "x", positions), "reopen": box.Reopen(t.Context(), "ann", "x", positions),
		} {
			if !errors.Is(err, inbox.ErrUnknown) {
				t.Errorf("%s %v: %v", kind, positions, err)
			}
		}
	}
	if _, err := box.Amend(t.Context(), "ann", "", []int64{1, retry}, make([][]byte, 2)); !errors.Is(err, inbox.ErrUnknown) {
		t.Errorf("amend a retry: %v", err)
	}
	if n := len(mustDecisions(t, pool)); n != before {
		t.Errorf("%d decisions were recorded", n-before)
	}
	if n := len(mustRead(t, box, retry, 10, 1<<20)); n != 0 {
		t.Errorf("%d entries were made", n)
	}
}

func TestDecisionsAreBounded(t *testing.T) {
	t.Parallel()
	box, pool := newLog(t)
	refuse := func(what string, err error) {
		t.Helper()
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, c := range map[string]struct{ by, note string }{
		"nobody": {"", "x"}, "a long name": {strings.Repeat("x", 101), "x"}, "a long note": {"ann", strings.Repeat("secret", 1000)},
		"U+0000 in the note": {"ann", "secret\x00"}, "no UTF-8": {"ann", "secret\xff"}, "U+0000 in the name": {"secret\x00", "x"},
	} {
		refuse(what, box.Discard(t.Context(), c.by, c.note, []int64{1}))
		refuse(what, box.Reopen(t.Context(), c.by, c.note, []int64{1}))
		_, err := box.Retry(t.Context(), c.by, c.note, []int64{1})
		refuse(what, err)
		_, err = box.Amend(t.Context(), c.by, c.note, []int64{1}, make([][]byte, 1))
		refuse(what, err)
	}
	refuse("a discard without a note", box.Discard(t.Context(), "ann", " \n", []int64{1}))
	refuse("no positions", box.Reopen(t.Context(), "ann", "x", nil))
	refuse("too many positions", box.Reopen(t.Context(), "ann", "x", make([]int64, 1001)))
	_, err := box.Amend(t.Context(), "ann", "", []int64{1, 2}, [][]byte{nil, make([]byte, 1<<20+1)})
	refuse("a large payload", err)
	_, err = box.Amend(t.Context(), "ann", "", []int64{1, 2}, make([][]byte, 1))
	refuse("a payload too few", err)
	if n := len(mustDecisions(t, pool)); n != 0 {
		t.Errorf("%d decisions were recorded", n)
	}
}

// A reader of the log follows decisions as it follows messages: none may appear behind its back.
func TestDecisionsOfManyOperatorsComeInTheOrderOfTheirEntries(t *testing.T) {
	t.Parallel()
	box, pool := newLog(t)
	const operators, clicks = 4, 20
	var group sync.WaitGroup
	for range operators {
		group.Go(func() {
			for i := range clicks {
				if _, err := box.Retry(t.Context(), "ann", "", []int64{1, 2, 3}); err != nil {
					t.Error(err)
				}
				if _, err := box.Append(t.Context(), []inbox.Message{message(int64(i+10), "d")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	decisions := mustDecisions(t, pool)
	if len(decisions) != operators*clicks*3 {
		t.Fatalf("%d decisions", len(decisions))
	}
	if !slices.IsSortedFunc(decisions, func(a, b decision) int { return int(a.Entry - b.Entry) }) {
		t.Error("ids of decisions and positions of entries are in different orders")
	}
	var n, last int64
	err := pool.QueryRow(t.Context(), `select count(distinct sequence), max(sequence) from inbox where source = 'operator' and channel = 'retry'`).Scan(&n, &last)
	if err != nil || n != last || n != operators*clicks*3 {
		t.Errorf("%d different numbers up to %d, %v", n, last, err)
	}
}

func TestDecisionsWakeReaders(t *testing.T) {
	t.Parallel()
	box, pool := newLog(t)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), "listen "+inbox.Notifications); err != nil {
		t.Fatal(err)
	}
	for kind, decide := range map[string]func() error{
		"retry":   func() error { _, err := box.Retry(t.Context(), "ann", "", []int64{1}); return err },
		"amend":   func() error { _, err := box.Amend(t.Context(), "ann", "", []int64{1}, make([][]byte, 1)); return err },
		"discard": func() error { return box.Discard(t.Context(), "ann", "x", []int64{1}) },
		"reopen":  func() error { return box.Reopen(t.Context(), "ann", "x", []int64{1}) },
	} {
		if err := decide(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if _, err := conn.Conn().WaitForNotification(ctx); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		cancel()
	}
}

func TestTheServiceMayDecideAndTakeNothingBack(t *testing.T) {
	t.Parallel()
	db := testservers.Database(t)
	service := testservers.Open(t, db.ServiceURL, 2)
	box := inbox.New(service, nil)
	mustAppend(t, box, message(1, "a"))
	mustRetry(t, box, 1)
	for _, statement := range []string{
		"update decisions set note = ''", "delete from decisions", "truncate decisions", "drop table decisions",
		"update inbox set original = null", "delete from inbox where original is not null",
	} {
		_, err := service.Exec(t.Context(), statement)
		if pgErr, ok := err.(*pgconn.PgError); !ok || pgErr.Code != "42501" {
			t.Errorf("%q as the service: %v, want permission denied", statement, err)
		}
	}
	reader := inbox.New(testservers.Open(t, db.ReaderURL, 1), nil)
	_, err := reader.Retry(t.Context(), "ann", "", []int64{1})
	for what, err := range map[string]error{"retry": err, "discard": reader.Discard(t.Context(), "ann", "x", []int64{1})} {
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "42501" {
			t.Errorf("%s as the reader: %v, want permission denied", what, err)
		}
	}
}

func TestAThousandAreRetriedAtOnce(t *testing.T) {
	t.Parallel()
	box, _ := newLog(t)
	var messages []inbox.Message
	for i := range 1000 {
		messages = append(messages, message(int64(i+10), fmt.Sprint(i)))
	}
	mustAppend(t, box, messages...)
	var positions []int64
	for _, e := range mustRead(t, box, 3, 1000, 1<<20) {
		positions = append(positions, e.Position)
	}
	entries := mustRetry(t, box, positions...)
	if !slices.IsSorted(entries) || len(entries) != 1000 {
		t.Errorf("%d entries, not in the order of their originals", len(entries))
	}
}
