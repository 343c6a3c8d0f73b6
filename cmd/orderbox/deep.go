package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/inbox"
	"orderbox/internal/cli"
	"orderbox/internal/verify"
	"orderbox/projector"
)

// deepReport is what projecting the whole log once more has brought to light.
type deepReport struct {
	Diff   verify.Diff   `json:"diff"`
	Served *servedReport `json:"served,omitempty"`
	// Repaired is how many messages' rows were put right.
	Repaired int `json:"repaired,omitempty"`
}

// servedReport compares what a running service answers with what the log makes.
type servedReport struct {
	Compared  int64    `json:"compared"`
	Different int64    `json:"different"`
	Missing   int64    `json:"missing"`
	Examples  []string `json:"examples"` // order_uids of different ones
}

func (d *deepReport) sound() bool {
	return d.Diff.Same() && (d.Served == nil || d.Served.Different+d.Served.Missing == 0)
}

// deep projects the log again, by the same rules and on the side, and compares row by row and, when there
// is a service to ask, response by response.
func (c *verifyCommand) deep(ctx context.Context, s cli.Streams, pool *pgxpool.Pool) (*deepReport, error) {
	p, err := projector.New(pool, inbox.New(pool, nil), projector.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	bar := newBar(s, "replay")
	trial, err := p.Try(ctx, true, func(position, end int64) { bar.show(projector.Progress{Position: position, Head: end}) })
	if errors.Is(err, projector.ErrDetached) {
		return nil, cli.Try(err, restoreAdvice(ctx, pool, "orderbox verify alone: it knows what was detached"))
	}
	if err != nil {
		return nil, err
	}
	defer trial.Drop(ctx)
	bar.finish(trial.At)
	var report deepReport
	if report.Diff, err = verify.Compare(ctx, pool, trial.Against, trial.Name, trial.At, verify.Show{Examples: 10}); err != nil {
		return nil, err
	}
	if c.URL != "" {
		if report.Served, err = compareServed(ctx, s, c.URL, pool, trial.Name); err != nil {
			return nil, err
		}
	}
	if c.Repair && !report.Diff.Same() {
		err = repair(ctx, trial, &report)
	}
	return &report, err
}

// maxRepaired is how many messages a comparison names at most.
const maxRepaired = 1000

var errTooManyToRepair = cli.Try(errors.New("more than single orders differ"), "orderbox replay, which makes everything anew from the log")

func repair(ctx context.Context, trial *projector.Trial, report *deepReport) error {
	n := len(report.Diff.Positions)
	if n >= maxRepaired {
		return errTooManyToRepair
	}
	if err := trial.Repair(ctx, report.Diff.Positions); err != nil {
		return err
	}
	report.Repaired = n
	return nil
}

// orderList is a page of the list of orders.
type orderList struct {
	Orders []json.RawMessage `json:"orders"`
	Next   *string           `json:"next"`
}

// compareServed asks a service for every order and compares the bytes with those of a generation. Orders
// that are newer than it are left out.
func compareServed(ctx context.Context, s cli.Streams, base string, pool *pgxpool.Pool, generation string) (*servedReport, error) {
	n, err := verify.Orders(ctx, pool, generation)
	if err != nil {
		return nil, err
	}
	report := &servedReport{Examples: []string{}}
	bar := newBar(s, "answers")
	for after := ""; ; {
		page, err := listOrders(ctx, base, after)
		if err != nil {
			return nil, err
		}
		if err := report.compare(ctx, pool, generation, page.Orders); err != nil {
			return nil, err
		}
		bar.show(projector.Progress{Position: report.Compared, Head: n})
		if page.Next == nil {
			break
		}
		after = *page.Next
	}
	bar.finish(n)
	report.Missing = n - report.Compared
	return report, nil
}

func (r *servedReport) compare(ctx context.Context, pool *pgxpool.Pool, generation string, orders []json.RawMessage) error {
	uids := make([]string, len(orders))
	for i, o := range orders {
		var id struct {
			OrderUID string `json:"order_uid"`
		}
		if err := json.Unmarshal(o, &id); err != nil {
			return fmt.Errorf("read a served order: %w", err)
		}
		uids[i] = id.OrderUID
	}
	digests, err := verify.Digests(ctx, pool, generation, uids)
	if err != nil {
		return err
	}
	for i, uid := range uids {
		want, ok := digests[uid]
		if !ok {
			continue
		}
		r.Compared++
		if got := sha256.Sum256(orders[i]); !bytes.Equal(got[:], want) {
			if r.Different++; len(r.Examples) < 10 {
				r.Examples = append(r.Examples, uid)
			}
		}
	}
	return nil
}

func listOrders(ctx context.Context, base, after string) (page orderList, err error) {
	query := url.Values{"limit": {"100"}}
	if after != "" {
		query.Set("after", after)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/v1/orders?"+query.Encode(), nil)
	if err != nil {
		return page, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return page, cli.Try(fmt.Errorf("ask the service for its orders: %w", err), "start it, or leave the served answers out with --url=")
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	if err == nil {
		err = json.Unmarshal(body, &page)
	}
	if err != nil {
		return page, fmt.Errorf("read the orders that the service answers with: %w", err)
	}
	return page, nil
}

func printDeep(w io.Writer, d *deepReport) error {
	fmt.Fprintf(w, "projected again: ")
	if d.Diff.Same() {
		fmt.Fprintf(w, "every row up to position %d is as it is in service\n", d.Diff.At)
	} else {
		fmt.Fprintln(w, "what is in service is not what the log makes")
		if err := printChange(w, newChange(d.Diff)); err != nil {
			return err
		}
	}
	if d.Repaired > 0 {
		fmt.Fprintf(w, "repaired: the rows of %d messages; the caches read everything anew\n", d.Repaired)
	}
	if d.Served == nil {
		_, err := fmt.Fprintln(w, "served answers: not compared, for no service is named (--url)")
		return err
	}
	_, err := fmt.Fprintf(w, "served answers: %d compared, %d different, %d missing\n", d.Served.Compared, d.Served.Different, d.Served.Missing)
	for _, uid := range d.Served.Examples {
		fmt.Fprintf(w, "    order %s is served otherwise\n", plain(uid))
	}
	return err
}
