package chaos

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"orderbox/internal/faults"
)

const (
	// lookupsPerSecond are sent to each replica, by so many clients.
	lookupsPerSecond = 40
	lookupClients    = 4
	// lookupTimeout is far beyond what an answer takes: only one that never comes is missed.
	lookupTimeout = 2 * time.Minute
)

// replica is one of the service's processes, as clients see it.
type replica struct {
	number int
	url    string
	// struck is how many faults keep it from answering, strikes how many there were of that sort.
	struck, strikes atomic.Int64
}

// silences says whether a replica that a fault strikes may be silent. One that is cut off from broker
// and database is not: clients still reach it, and it has its cache.
func silences(f faults.Fault) bool {
	return f.Target == faults.Service && (f.Kind == faults.Kill || f.Kind == faults.Pause || f.Kind == faults.Restart)
}

// lookups is what the clients share, and what they count.
type lookups struct {
	ledger   *ledger
	problems *problems
	client   *http.Client
	// underWay is how many faults there are at the moment.
	underWay *atomic.Int64

	served, notFound, silent, during atomic.Int64
}

func newLookups(l *ledger, p *problems, underWay *atomic.Int64) *lookups {
	transport := &http.Transport{MaxIdleConnsPerHost: readers, DisableCompression: true}
	return &lookups{ledger: l, problems: p, underWay: underWay, client: &http.Client{Transport: transport, Timeout: lookupTimeout}}
}

// run looks orders up at every replica until ctx ends.
func (l *lookups) run(ctx context.Context, all []*replica) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range all {
		pace := rate.NewLimiter(lookupsPerSecond, 1)
		for range lookupClients {
			g.Go(func() error {
				for pace.Wait(ctx) == nil {
					l.lookup(ctx, r)
				}
				return nil
			})
		}
	}
	return g.Wait()
}

// lookup asks for one order and judges the answer.
func (l *lookups) lookup(ctx context.Context, r *replica) {
	n, uid, ok := l.ledger.pick()
	if !ok {
		return
	}
	seen, strikes := l.ledger.seen(n, r.number), r.strikes.Load()
	excused := r.struck.Load() > 0
	code, body, err := l.get(ctx, r.url, uid)
	if ctx.Err() != nil {
		return
	}
	excused = excused || r.strikes.Load() != strikes
	if l.underWay.Load() > 0 && err == nil {
		l.during.Add(1)
	}
	switch {
	case err != nil && excused, code == http.StatusServiceUnavailable && excused:
		l.silent.Add(1)
	case err != nil:
		l.problems.add("a lookup was not answered", "replica %d: %v", r.number, withoutURL(err))
	case code == http.StatusOK:
		l.served.Add(1)
		if what := l.ledger.serve(n, r.number, digestOf(body)); what != "" {
			l.problems.add(what, "%s at replica %d", uid, r.number)
		}
	case code == http.StatusNotFound && seen:
		l.problems.add("an order that was served is denied", "%s at replica %d", uid, r.number)
	case code == http.StatusNotFound:
		l.notFound.Add(1)
	default:
		l.problems.add("a lookup got another answer than the order or that there is none", "%s at replica %d: status %d", uid, r.number, code)
	}
}

// get asks a replica for an order.
func (l *lookups) get(ctx context.Context, base, uid string) (code int, body []byte, err error) {
	return l.ask(ctx, base+"/api/v1/orders/"+url.PathEscape(uid))
}

func (l *lookups) ask(ctx context.Context, address string) (code int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := l.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// withoutURL is the cause of a client's error.
func withoutURL(err error) error {
	if wrapped, ok := err.(*url.Error); ok {
		return fmt.Errorf("%s: %w", wrapped.Op, wrapped.Err)
	}
	return err
}
