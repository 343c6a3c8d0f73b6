package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"orderbox/internal/verify"
	"orderbox/publisher"
)

// readers read all orders over HTTP at a time.
const readers = 8

const enterSQL = `
select set_config('search_path', quote_ident(name) || ', public', true)
from generations
where state = 'current'`

// Along the indexes, so that neither side has to hold a million rows.
const planSQL = `
select set_config('enable_hashjoin', 'off', true),
    set_config('enable_sort', 'off', true),
    set_config('jit', 'off', true)`

const logSQL = `
select i.position, i.source, i.channel, i.sequence, i.stamped_at, i.payload,
    o.order_uid, o.digest, d.position, d.first, l.reason, l.first
from inbox as i
left join orders as o on o.position = i.position
left join duplicates as d on d.position = i.position
left join dead_letters as l on l.position = i.position
order by i.position`

// judgeLog gives the whole log to the checker.
func judgeLog(ctx context.Context, pool *pgxpool.Pool, c *checker) error {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return pgx.BeginTxFunc(ctx, pool, options, func(tx pgx.Tx) error {
		for _, sql := range []string{enterSQL, planSQL} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, logSQL)
		if err != nil {
			return err
		}
		for rows.Next() {
			e, err := scanEntry(rows)
			if err != nil {
				return err
			}
			c.see(e)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if err := judgeCopies(ctx, tx, c); err != nil {
			return err
		}
		c.end()
		return judgeSums(ctx, tx, c)
	})
}

func scanEntry(rows pgx.Rows) (e entry, err error) {
	var payload, served []byte
	var uid, reason *string
	var duplicate, original, winner *int64
	err = rows.Scan(&e.position, &e.source, &e.channel, &e.sequence, &e.stamp, &payload,
		&uid, &served, &duplicate, &original, &reason, &winner)
	if err != nil {
		return entry{}, err
	}
	e.payload = digestOf(payload)
	if uid != nil {
		e.fates++
		e.verdict, e.uid = publisher.VerdictOrder, *uid
		copy(e.served[:], served) // the first half of the SHA-256, as the ledger has it
	}
	if duplicate != nil {
		e.fates++
		e.verdict, e.first = publisher.VerdictDuplicate, *original
	}
	if reason != nil {
		e.fates++
		if e.verdict = *reason; winner != nil {
			e.first = *winner
		}
	}
	return e, nil
}

const sumsSQL = `
select (select count(*) from orders), (select count(*) from duplicates), (select count(*) from dead_letters),
    (select count(*) from deliveries), (select count(*) from payments),
    c.orders, c.duplicates, c.dead_letters
from checkpoint as c`

// judgeSums compares what the tables hold, and what the checkpoint says, with what was seen in the log.
func judgeSums(ctx context.Context, tx pgx.Tx, c *checker) error {
	var rows, kept [3]int64
	var deliveries, payments int64
	err := tx.QueryRow(ctx, sumsSQL).Scan(&rows[0], &rows[1], &rows[2], &deliveries, &payments, &kept[0], &kept[1], &kept[2])
	if err != nil {
		return err
	}
	want := [3]int64{c.orders, c.duplicates, c.refused()}
	for what, got := range map[string][3]int64{"the tables": rows, "the checkpoint": kept} {
		if got != want {
			c.problems.add("the sums differ", "%s: %v orders, duplicates and dead letters in place of %v", what, got, want)
		}
	}
	if deliveries != c.orders || payments != c.orders {
		c.problems.add("the sums differ", "%d deliveries and %d payments of %d orders", deliveries, payments, c.orders)
	}
	return nil
}

// judgeAnswers asks the replicas by turns for everything that was published, after the log was judged.
func judgeAnswers(ctx context.Context, l *lookups, all []*replica) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range readers {
		g.Go(func() error {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(l.ledger.orders) {
					return nil
				}
				o, r := &l.ledger.orders[n], all[n%len(all)]
				code, body, err := l.get(ctx, r.url, o.uid)
				if err != nil {
					return fmt.Errorf("read order %d at replica %d: %w", n, r.number, err)
				}
				switch {
				case o.position == 0 && code != http.StatusNotFound:
					l.problems.add("what made no order is not answered with 404", "%s at replica %d: status %d", o.uid, r.number, code)
				case o.position != 0 && (code != http.StatusOK || digestOf(body) != o.content):
					l.problems.add("an order is not served as its message says", "%s at replica %d: status %d", o.uid, r.number, code)
				}
			}
		})
	}
	return g.Wait()
}

// judgeStats compares the balance that each replica tells with what was seen in the log.
func judgeStats(ctx context.Context, l *lookups, all []*replica, c *checker) error {
	type balance struct {
		Received, Orders, Duplicates, Pending int64
		DeadLetters                           int64 `json:"dead_letters"`
	}
	want := balance{Received: c.entries, Orders: c.orders, Duplicates: c.duplicates, DeadLetters: c.refused()}
	for _, r := range all {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/api/v1/stats", nil)
		if err != nil {
			return err
		}
		response, err := l.client.Do(request)
		if err != nil {
			return err
		}
		var got balance
		err = json.NewDecoder(response.Body).Decode(&got)
		response.Body.Close()
		if err != nil {
			return fmt.Errorf("read the balance of replica %d: %w", r.number, err)
		}
		if got != want {
			l.problems.add("the sums differ", "replica %d tells %+v in place of %+v", r.number, got, want)
		}
	}
	return nil
}

// judgeItself asks the service's own checker, which knows the laws but not what was published.
func judgeItself(ctx context.Context, pool *pgxpool.Pool, c *checker) error {
	report, err := verify.Check(ctx, pool)
	if err != nil {
		return err
	}
	for _, f := range report.Broken {
		c.problems.add("verify finds a broken law", "law %d: %s (%d, for example %v)", f.Law, f.What, f.Count, f.Examples)
	}
	if report.Gaps != 0 || report.Pending != 0 || report.Received != c.entries {
		c.problems.add("verify counts otherwise", "%d received of %d, %d gaps, %d pending", report.Received, c.entries, report.Gaps, report.Pending)
	}
	return nil
}

const countInboxSQL = `
select count(*)
from inbox
where stamped_at > $1`

// countSince counts what the log has from one store of the broker.
func countSince(ctx context.Context, pool *pgxpool.Pool, since time.Time) (n int64, err error) {
	err = pool.QueryRow(ctx, countInboxSQL, since).Scan(&n)
	return n, err
}

// isReady asks a replica whether it is fit to serve.
func isReady(ctx context.Context, l *lookups, r *replica) bool {
	code, _ := askReady(ctx, l, r, 5*time.Second)
	return code == http.StatusOK
}

// askReady asks a replica for its state, and returns nothing when it does not answer in time.
func askReady(ctx context.Context, l *lookups, r *replica, within time.Duration) (code int, roles map[string]string) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/readyz", nil)
	if err != nil {
		return 0, nil
	}
	response, err := l.client.Do(request)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	var said struct{ Roles map[string]string }
	if err := json.NewDecoder(response.Body).Decode(&said); err != nil {
		return 0, nil
	}
	return response.StatusCode, said.Roles
}
