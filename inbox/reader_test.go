package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/inbox"
	"orderbox/internal/testservers"
)

// Some commits take a while, and some fail at the very end, when their positions are long given.
const slowCommitsSQL = `
create function commit_slowly() returns trigger language plpgsql as $$
begin
    if random() < 0.05 then
        perform pg_sleep(random() * 0.02);
    end if;
    if new.payload = 'fails at its commit' then
        raise exception 'as was asked for';
    end if;
    return null;
end $$;
create constraint trigger commit_slowly after insert on inbox deferrable initially deferred
    for each row execute function commit_slowly()`

// A reader goes on from the last position it saw. Were positions given before an appender's turn, a slow
// commit would appear behind the reader's back and never be read.
func TestAReaderNeverPassesAMessage(t *testing.T) {
	t.Parallel()
	db := testservers.Database(t)
	admin := testservers.Open(t, db.AdminURL, 2)
	if _, err := admin.Exec(t.Context(), slowCommitsSQL); err != nil {
		t.Fatal(err)
	}
	w := &writing{TB: t, box: inbox.New(testservers.Open(t, db.ServiceURL, 4), nil)}
	mustAppend(t, w.box, message(1, "there from the beginning"))

	var writers, readers sync.WaitGroup
	for n := range 5 { // as many processes, so to speak
		box := inbox.New(testservers.Open(t, db.ServiceURL, 2), nil)
		writers.Go(func() { w.append(n, box) })
	}
	breaker, operator := testservers.Open(t, db.ServiceURL, 1), inbox.New(testservers.Open(t, db.ServiceURL, 1), nil)
	writers.Go(func() { w.breakOff(breaker) })
	writers.Go(func() { w.decide(operator) })
	ctx, end := context.WithCancel(t.Context())
	var followed [4][]inbox.Entry
	for n := range followed {
		readers.Go(func() { followed[n] = w.follow(ctx, uint64(n)) })
	}
	writers.Wait()
	end()
	readers.Wait()

	all := mustRead(t, w.box, 0, 1<<20, 1<<30)
	if got, want := int64(len(all)), 1+w.committed.Load(); got != want {
		t.Errorf("the log has %d entries, %d were committed", got, want)
	}
	for n, seen := range followed {
		mustBeTheSame(t, fmt.Sprint("reader ", n), seen, all)
	}
}

// mustBeTheSame fails unless a reader saw every entry behind its first position once, in order.
func mustBeTheSame(tb testing.TB, who string, seen, all []inbox.Entry) {
	tb.Helper()
	if len(seen) == 0 {
		tb.Errorf("%s saw nothing", who)
		return
	}
	for len(all) > 0 && all[0].Position < seen[0].Position {
		all = all[1:]
	}
	for i, e := range all {
		if i >= len(seen) || seen[i].Position != e.Position || string(seen[i].Payload) != string(e.Payload) || seen[i].Original != e.Original {
			tb.Errorf("%s went past position %d: it saw %d entries of %d", who, e.Position, len(seen), len(all))
			return
		}
	}
	if len(seen) != len(all) {
		tb.Errorf("%s saw %d entries, the log has %d from there on", who, len(seen), len(all))
	}
}

// writing is a log that many write to, each in its own way. All of it is bounded in count.
type writing struct {
	testing.TB
	box       *inbox.Inbox
	committed atomic.Int64 // entries
}

const rounds = 30

// append appends batches of any size, some with what was appended before, some of which fail at their commit.
func (w *writing) append(n int, box *inbox.Inbox) {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	sequence := int64(1)
	for round := range rounds {
		var batch []inbox.Message
		for range 1 + r.IntN(10) {
			sequence++
			m := message(sequence, fmt.Sprint(n, sequence))
			m.Channel = fmt.Sprint(n)
			batch = append(batch, m)
		}
		if round%7 == 3 {
			spoilt := append(batch[:len(batch):len(batch)], message(1<<40+int64(n), "fails at its commit"))
			if _, err := box.Append(w.Context(), spoilt); !failedAsAsked(err) {
				w.Errorf("a batch that cannot be committed: %v", err)
			}
		}
		for range 1 + r.IntN(2) { // a redelivery is nothing new
			stored, err := box.Append(w.Context(), batch)
			if err != nil {
				w.Error(err)
			}
			w.committed.Add(int64(stored))
		}
	}
}

func failedAsAsked(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == "P0001"
}

// breakOff begins to append, and thinks better of it: positions are given and never come.
func (w *writing) breakOff(pool *pgxpool.Pool) {
	const beginSQL = `
		with turn as materialized (select pg_advisory_xact_lock(hashtext('orderbox inbox')))
		insert into inbox (source, channel, sequence, stamped_at, payload)
		select 'stan', 'broken off', $1, now(), '' from turn`
	regret := errors.New("broken off")
	for n := range rounds {
		err := pgx.BeginFunc(w.Context(), pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(w.Context(), beginSQL, n); err != nil {
				return err
			}
			return regret
		})
		if !errors.Is(err, regret) {
			w.Error(err)
		}
	}
}

// decide enters retries and amendments.
func (w *writing) decide(box *inbox.Inbox) {
	for n := range rounds {
		var err error
		if n%2 == 0 {
			_, err = box.Retry(w.Context(), "ann", "", []int64{1})
		} else {
			_, err = box.Amend(w.Context(), "ann", "", []int64{1}, [][]byte{fmt.Append(nil, "amended ", n)})
		}
		if err != nil {
			w.Error(err)
		}
		w.committed.Add(1)
	}
}

// follow reads from some position on, in steps of any size, until the writing has ended and it has caught up.
func (w *writing) follow(ended context.Context, seed uint64) (seen []inbox.Entry) {
	r := rand.New(rand.NewPCG(seed, 2))
	after := int64(0)
	if there, err := w.box.Read(w.Context(), 0, 1+r.IntN(50), 1<<20); err == nil && seed > 0 && len(there) > 0 {
		after = there[len(there)-1].Position
	}
	for {
		last := ended.Err() != nil // asked before reading: what is missing then was not committed before
		entries, err := w.box.Read(w.Context(), after, 1+r.IntN(20), 1+r.IntN(200))
		if err != nil {
			w.Error(err)
			return seen
		}
		if seen = append(seen, entries...); len(entries) > 0 {
			after = entries[len(entries)-1].Position
		} else if last {
			return seen
		}
	}
}
