package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/semaphore"

	"orderbox/internal/trace"
	"orderbox/static"
)

// Options says how to answer. The zero value is usable: nothing for the operator, no balance.
type Options struct {
	Log     *slog.Logger         // nil discards
	Metrics *prometheus.Registry // what /metrics shows and this stage adds to; nil is one of its own
	Trace   *trace.Tracer        // nil tells nobody
	// Primary is the database that is projected into, where the one that orders are read from is a standby of it. It is listened
	// to and asked how far it is, and operators' requests are answered from there. Nil: there is no standby.
	Primary *pgxpool.Pool
	// Tokens open the operator's paths to who sends one; none keeps them shut to everybody. Names and
	// secrets are not empty, and each is there once.
	Tokens []Token
	// Operator takes decisions about dead letters. It is called concurrently. Nil: they are not offered.
	Operator Operator
	// Judge counts the payloads that the schema in force lets through, for previews. It is called concurrently.
	// Nil: previews do not say.
	Judge func(ctx context.Context, payloads [][]byte) (passing int, err error)
	// Replays orders replays. Nil: they are not offered.
	Replays *Replays
	// Stats returns the balance. It is called for each request of it, concurrently, with a few seconds'
	// time. Nil: the balance is not offered.
	Stats func(context.Context) (Stats, error)
	// Missing returns how many messages in how many gaps the broker numbered and nobody ever received. It is
	// called for each home page, concurrently, and costs nothing. Nil: that is not shown.
	Missing func() (messages, gaps int64)
	// Checks are asked by /readyz, concurrently, with 2 s of time, beside "database" and "cache". The text
	// of their errors is shown to anybody who asks.
	Checks map[string]func(context.Context) error
	// Roles says what the stages of this process do right now, by their names, for /readyz. It is called
	// concurrently. Nil: nothing is said.
	Roles func() map[string]string
	// CacheBytes is how much memory the orders may take; the oldest are left out and read from the database when somebody asks for
	// them. 0 is no limit. While a replay goes on, each of two generations may take that much.
	CacheBytes int64
	// Poll is how long a new order may stay unseen when its notification is lost (default 1 s).
	Poll time.Duration
}

// Server is the stage. Make it with New.
type Server struct {
	pool     *pgxpool.Pool // where orders are read
	primary  *pgxpool.Pool // what operators' requests are answered from; may be the same
	o        Options
	log      *slog.Logger
	site     *static.Site
	keys     keyring
	guesses  *guesses
	origins  http.CrossOriginProtection
	metrics  *metrics
	follower *follower
	fetcher  *fetcher
	feed     *feed

	// What operators start in the background: a dry run, the comparison after a replay, dead letters in waves.
	starts  chan func(context.Context) // from requests to Run
	tried   *errand[Change]
	changed *errand[Change]
	ramped  *errand[ramped]
	pacer   pacer

	pages  *semaphore.Weighted // places for those that are being made and sent
	tracks *semaphore.Weighted // places for searches by track number
}

// New checks the options and returns a server that reads from pool, of which it needs two connections and
// one more per request for the operator or the balance, as many as maxTracks for searches, and as many as maxFetches for orders
// that are not in memory. With a primary of its own, that needs two connections and those of the operator. It connects to
// nothing yet.
func New(pool *pgxpool.Pool, o Options) (*Server, error) {
	var problems []error
	if o.Poll < 0 {
		problems = append(problems, errors.New("the poll interval is negative"))
	}
	if o.CacheBytes < 0 {
		problems = append(problems, errors.New("the limit of the cache is negative"))
	}
	for _, taken := range []string{"database", "cache"} {
		if o.Checks[taken] != nil {
			problems = append(problems, fmt.Errorf("the check %s is there already", taken))
		}
	}
	if o.Poll == 0 {
		o.Poll = time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	s := &Server{pool: pool, primary: cmp.Or(o.Primary, pool), o: o, log: o.Log.With("stage", "query"), guesses: newGuesses(), feed: newFeed(),
		pages: semaphore.NewWeighted(maxPages), tracks: semaphore.NewWeighted(maxTracks)}
	s.follower = newFollower(pool, o.Primary, s.log, o.Poll)
	s.follower.trace, s.follower.bytes = o.Trace, o.CacheBytes
	s.fetcher = newFetcher(s.follower)
	s.starts = make(chan func(context.Context), maxErrands)
	s.tried, s.changed, s.ramped = newErrand[Change](s.starts, s.log), newErrand[Change](s.starts, s.log), newErrand[ramped](s.starts, s.log)
	var err error
	if s.site, err = static.New(); err != nil {
		problems = append(problems, err)
	}
	if s.keys, err = newKeyring(o.Tokens); err != nil {
		problems = append(problems, err)
	}
	if s.metrics, err = newMetrics(o.Metrics, s.follower, s.fetcher); err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("query: %w", errors.Join(problems...))
	}
	return s, nil
}

// Run fills the cache and follows the projection until ctx ends, for as long as the database takes to
// come back, tells subscribers what is new, and does what operators start in the background. It returns nil after its
// goroutines have ended; then the events have, so that a server which is shut down meanwhile need not wait for them.
// Answering does not need it to run, but knows no orders before it does. To be called once.
func (s *Server) Run(ctx context.Context) error {
	var group sync.WaitGroup
	group.Go(func() { s.runErrands(ctx) })
	group.Go(func() { s.runFeed(ctx) })
	s.follower.run(ctx)
	group.Wait()
	return nil
}

// HTTPServer returns a server for the whole HTTP surface that no slow or greedy client can hold up, to be served and shut
// down by the caller. It has no address yet.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:        s.router(),
		ReadTimeout:    15 * time.Second, // for the header too: a deadline of its own would be set for each request
		WriteTimeout:   30 * time.Second, // above queryTimeout, with time to send a large payload
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 32 << 10,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// router returns the whole HTTP surface. It may be called concurrently with Run, and serves any number
// of requests at once.
func (s *Server) router() http.Handler {
	// Paths are matched as they were sent, not cleaned: an order_uid may hold slashes and dots.
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	var lookups http.Handler
	all, at := s.routes(), make(map[string][]route)
	for _, rt := range all {
		at[rt.path] = append(at[rt.path], rt)
	}
	for _, rt := range all {
		if of := at[rt.path]; of != nil {
			answering := s.adapt(of...)
			router.Handle(rt.path, answering)
			if rt.path == lookupPath {
				lookups = answering
			}
			delete(at, rt.path)
		}
	}
	router.NotFoundHandler = s.adapt(route{path: "other", handle: func(http.ResponseWriter, *http.Request) error {
		return notFound("No page and no endpoint has this address.", "Begin at /.")
	}})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := lookedUp(r); ok {
			lookups.ServeHTTP(w, r)
			return
		}
		router.ServeHTTP(w, r)
	})
}

// route is one line of the HTTP surface. Who offers GET offers HEAD. A path has a line for each method.
type route struct {
	method string // empty: any
	path   string
	handle handler
}

// routes is the HTTP surface.
func (s *Server) routes() []route {
	return append([]route{
		// An order as the reference model writes it, from the cache.
		{"GET", lookupPath, s.orderJSON},
		// Where it comes from, value by value (operator).
		{"GET", "/api/v1/orders/{order_uid}/source", s.operator(s.orderSource)},
		// The latest orders, newest first: ?limit=&after=; or one, whatever its id is: ?order_uid=.
		{"GET", "/api/v1/orders", s.ordersJSON},

		// The lookup page, with the latest orders.
		{"GET", "/", s.homePage},
		// One order's page: a link that can be sent to someone.
		{"GET", "/orders/{order_uid}", s.orderPage},
		// What the search form asks for, an order id or a track number: ?order_uid=.
		{"GET", "/orders", s.orderPage},
		// How the service is.
		{"GET", "/status", s.statusPage},
		// Style, script and pictures, named by their content.
		{"GET", "/assets/{name}", s.asset},

		// A browser's login with an operator's token, a form: token, next; and its end.
		{"GET", "/login", s.loginPage},
		{"POST", "/login", s.login},
		{"POST", "/logout", s.logout},
		// The language and the appearance of the pages, a form: language or theme, next.
		{"POST", "/preferences", s.preferences},

		// The balance: received, orders, duplicates, dead letters, pending; and what never came.
		{"GET", "/api/v1/stats", s.statsJSON},
		// The latest orders and the balance with its rates, as they change: server-sent events.
		{"GET", eventsPath, s.events},
		// What was refused, newest first: ?reason=&state=&place=&since=&until=&text=&limit=&after= (operator).
		{"GET", "/api/v1/dead-letters", s.operator(s.deadLettersJSON)},
		// How many there are by reason and by place: ?state=&by= (operator).
		{"GET", "/api/v1/dead-letters/groups", s.operator(s.groupsJSON)},
		// Decisions about all that a filter means: {"filter": …, "note": …, "preview": …, "expect": …}, and for
		// an amendment "patch" (operator).
		{"POST", "/api/v1/dead-letters/retry", s.deciding(s.bulkJSON(kindRetry))},
		{"POST", "/api/v1/dead-letters/amend", s.deciding(s.bulkJSON(kindAmend))},
		{"POST", "/api/v1/dead-letters/discard", s.deciding(s.bulkJSON(kindDiscard))},
		{"POST", "/api/v1/dead-letters/reopen", s.deciding(s.bulkJSON(kindReopen))},
		// One refusal, with every violation and what was decided about it (operator).
		{"GET", "/api/v1/dead-letters/{id}", s.operator(s.deadLetterJSON)},
		// The refused message itself, or what was entered in its stead (?entry=), byte for byte (operator).
		{"GET", "/api/v1/dead-letters/{id}/payload", s.operator(s.deadLetterPayload)},

		// Decisions about one: {"note": …}; for an amendment, the corrected message and ?note= (operator).
		{"POST", "/api/v1/dead-letters/{id}/retry", s.deciding(s.decideJSON(kindRetry))},
		{"POST", "/api/v1/dead-letters/{id}/amend", s.deciding(s.decideJSON(kindAmend))},
		{"POST", "/api/v1/dead-letters/{id}/discard", s.deciding(s.decideJSON(kindDiscard))},
		{"POST", "/api/v1/dead-letters/{id}/reopen", s.deciding(s.decideJSON(kindReopen))},

		// Alive: the process answers.
		{"GET", "/healthz", s.alive},
		// Fit to serve: database, cache, and what else the service depends on.
		{"GET", "/readyz", s.ready},
		// Prometheus.
		{"GET", "/metrics", s.measurements()},
		// What programs may rely on.
		{"GET", "/openapi.yaml", s.contract},
	}, append(s.inspectorRoutes(), s.replayRoutes()...)...)
}

// replayRoutes are what can be done about replays, as endpoints and on a page (operator).
func (s *Server) replayRoutes() []route {
	return []route{
		// How the replay goes; and: order one, go back to what was before, give one up, drop what was before.
		{"GET", "/api/v1/replay", s.operator(s.replayJSON)},
		{"POST", "/api/v1/replay/order", s.replaying(s.orderReplay, s.replayJSON)},
		{"POST", "/api/v1/replay/rollback", s.replaying(s.rollBackReplay, s.replayJSON)},
		{"POST", "/api/v1/replay/cancel", s.replaying(s.cancelReplay, s.replayJSON)},
		{"POST", "/api/v1/replay/drop-previous", s.replaying(s.dropPrevious, s.replayJSON)},
		// What the last one changed.
		{"GET", "/api/v1/replay/changes", s.operator(reportJSON(s.changed, http.StatusOK))},
		{"POST", "/api/v1/replay/changes", s.replaying(s.compareReplay, reportJSON(s.changed, http.StatusAccepted))},
		// What one would change: begun with a JSON Schema as the body, or none for this program's.
		{"GET", "/api/v1/replay/dry-run", s.operator(reportJSON(s.tried, http.StatusOK))},
		{"POST", "/api/v1/replay/dry-run", s.replaying(s.dryRunByBody, reportJSON(s.tried, http.StatusAccepted))},
		{"POST", "/api/v1/replay/dry-run/cancel", s.replaying(s.cancelDryRun, reportJSON(s.tried, http.StatusOK))},
		// Dead letters alone, in waves: {"reason": …, "place": …, "from": …, "to": …, "ids": …, "note": …,
		// "max_refused": …, "dry_run": …}.
		{"GET", "/api/v1/replay/dead-letters", s.operator(reportJSON(s.ramped, http.StatusOK))},
		{"POST", "/api/v1/replay/dead-letters", s.replaying(s.rampByBody, reportJSON(s.ramped, http.StatusAccepted))},
		{"POST", "/api/v1/replay/dead-letters/cancel", s.replaying(s.cancelRamp, reportJSON(s.ramped, http.StatusOK))},

		// The same on a page.
		{"GET", "/replay", s.operator(s.replayPage)},
		{"POST", "/replay/order", s.replaying(s.orderReplay, backToReplay("order", ""))},
		{"POST", "/replay/rollback", s.replaying(s.rollBackReplay, backToReplay("rollback", ""))},
		{"POST", "/replay/cancel", s.replaying(s.cancelReplay, backToReplay("cancel", ""))},
		{"POST", "/replay/drop-previous", s.replaying(s.dropPrevious, backToReplay("drop-previous", ""))},
		{"POST", "/replay/changes", s.replaying(s.compareReplay, backToReplay("", "changed"))},
		{"POST", "/replay/dry-run", s.replaying(s.dryRunByForm, backToReplay("", "dry-run"))},
		{"POST", "/replay/dry-run/cancel", s.replaying(s.cancelDryRun, backToReplay("", "dry-run"))},
		{"POST", "/replay/dead-letters", s.replaying(s.rampByForm, backToReplay("", "waves"))},
		{"POST", "/replay/dead-letters/cancel", s.replaying(s.cancelRamp, backToReplay("", "waves"))},
	}
}

// inspectorRoutes are the dead letters' pages. They say and do what the endpoints do.
func (s *Server) inspectorRoutes() []route {
	return []route{
		// What was refused, with the places where it fails (operator): filters as the endpoint's, after.
		{"GET", "/dead-letters", s.operator(s.lettersPage)},
		// What a decision about all that a filter means would be about, and the decision (operator).
		{"GET", "/dead-letters/retry", s.deciding(s.previewPage(kindRetry))},
		{"POST", "/dead-letters/retry", s.deciding(s.bulkPage(kindRetry))},
		{"GET", "/dead-letters/amend", s.deciding(s.previewPage(kindAmend))},
		{"POST", "/dead-letters/amend", s.deciding(s.bulkPage(kindAmend))},
		{"GET", "/dead-letters/discard", s.deciding(s.previewPage(kindDiscard))},
		{"POST", "/dead-letters/discard", s.deciding(s.bulkPage(kindDiscard))},
		{"GET", "/dead-letters/reopen", s.deciding(s.previewPage(kindReopen))},
		{"POST", "/dead-letters/reopen", s.deciding(s.bulkPage(kindReopen))},
		// One refusal: the message with what is wrong marked, and what can be done about it (operator).
		{"GET", "/dead-letters/{id}", s.operator(s.letterPage)},

		// Decisions about one, as forms: note; for an amendment, payload (operator).
		{"POST", "/dead-letters/{id}/retry", s.deciding(s.decidePage(kindRetry))},
		{"POST", "/dead-letters/{id}/amend", s.deciding(s.decidePage(kindAmend))},
		{"POST", "/dead-letters/{id}/discard", s.deciding(s.decidePage(kindDiscard))},
		{"POST", "/dead-letters/{id}/reopen", s.deciding(s.decidePage(kindReopen))},
	}
}

func (s *Server) measurements() handler {
	serve := promhttp.HandlerFor(s.o.Metrics, promhttp.HandlerOpts{})
	return func(w http.ResponseWriter, r *http.Request) error {
		serve.ServeHTTP(w, r)
		return nil
	}
}
