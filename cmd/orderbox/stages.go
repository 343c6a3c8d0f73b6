package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"orderbox/inbox"
	"orderbox/ingest"
	"orderbox/internal/grace"
	"orderbox/internal/retry"
	"orderbox/internal/trace"
	"orderbox/internal/verify"
	"orderbox/projector"
	"orderbox/query"
	"orderbox/sql"
)

// Connections of each stage's pool, so that none can starve another.
const (
	ingestConns    = 2  // an append, and the auditor's question; for each source
	projectorConns = 8  // of each of two generations the leader's and the reader's, the listener's, one to switch, and two to spare
	queryConns     = 12 // the follower's and the listener's, operators' requests, and orders that are not in memory
	readConns      = 8  // of a standby: the follower's, searches, readiness, and orders that are not in memory
	watchConns     = 2  // what never came, and what is pending
	operatorConns  = 2  // operators' decisions, which may wait for appenders
	tryConns       = 4  // while there is a dry run: what writes, what reads ahead, and what compares
)

// readerRole may read everything and nothing else.
const readerRole = "orderbox_reader"

const (
	connectTimeout  = 5 * time.Second
	shutdownTimeout = 3 * time.Second // beyond the drain
)

// runtimeMetrics are beside the usual ones: what of the heap is in use, and the garbage collector's pauses as a histogram.
var runtimeMetrics = collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^(/gc/heap/live:bytes|/sched/pauses/total/gc:seconds)$`)}

// stages says which of the flow's steps run in this process, and against what.
type stages struct {
	ingest, projector, query bool

	databaseURL string
	readURL     string // of a standby that orders are read from; empty for none
	broker      brokerFlags
	tokens      []query.Token // of operators
	listener    net.Listener  // for query, or without it for what measures; nil is none
	tls         *tls.Config   // for HTTPS; nil is HTTP
	schema      []byte        // to judge by; nil is the built-in one
	drain       time.Duration // how long to answer after the stop was ordered
	cacheBytes  int64         // limit of the memory for orders; 0 is none
	log         *slog.Logger

	registry *prometheus.Registry
	trace    *trace.Tracer // nil when no collector is named
	checks   map[string]func(context.Context) error
	roles    map[string]func() string // of the stages, for /readyz
	pools    []*pgxpool.Pool
	answers  atomic.Pointer[query.Server] // once there is one
}

// run runs the stages until ctx ends, or until one cannot go on.
//
// Stopping: ctx ends for all at once. Ingest takes nothing more, commits and acknowledges what it has;
// the projector ends the transaction in hand, and what it leaves it finds at the next start. None waits
// for another, for between them there are only tables; another replica takes over from both at once.
// Lookups are answered a little longer, from a cache that still follows, while /readyz already says no: so
// a load balancer has taken this replica out by the time nobody listens any more. Then HTTP ends what it
// has begun to answer.
func (s *stages) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { s.log.Info("stopping", "drain", s.drain) })()
	s.registry = prometheus.NewRegistry()
	s.registry.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(runtimeMetrics)),
		collectors.NewBuildInfoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s.checks, s.roles = make(map[string]func(context.Context) error), make(map[string]func() string)

	var err error
	if s.trace, err = trace.Open(ctx, s.log); err != nil {
		return err
	}
	defer s.trace.Close()

	// Before the database is migrated there is nothing that a stage could do.
	if err := s.waitForDatabase(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	defer s.closePools()
	g, ctx := errgroup.WithContext(ctx)
	// What serves comes last: the others add checks and metrics.
	for _, start := range []func(context.Context, *errgroup.Group) error{s.startIngest, s.startProjector, s.startQuery, s.startMeasuring} {
		if err := start(ctx, g); err != nil {
			g.Go(func() error { return err })
			break
		}
	}
	return g.Wait()
}

// closeDeadline is for databases that answer. Of one that does not, pgx waits 15 s for each connection.
const closeDeadline = time.Second

func (s *stages) closePools() {
	var closing sync.WaitGroup
	for _, pool := range s.pools {
		closing.Go(pool.Close)
	}
	closed := make(chan struct{})
	go func() {
		closing.Wait()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(closeDeadline):
		s.log.Info("connections to the database left open, for it does not answer")
	}
}

// waitForDatabase returns nil when the database is there and has the tables, or a standby of it is and has, which is all that
// lookups need. While it is away it waits; when it was never migrated, that is an error.
func (s *stages) waitForDatabase(ctx context.Context) error {
	urls := []string{s.databaseURL}
	if s.query && s.readURL != "" {
		urls = []string{s.readURL, s.databaseURL}
	}
	var pools []*pgxpool.Pool
	for _, url := range urls {
		pool, err := sql.Open(ctx, url, "orderbox start", 1)
		if err != nil {
			return err
		}
		defer pool.Close()
		pools = append(pools, pool)
	}
	var unfit error
	retry.Forever(ctx, s.log, "connect to the database", func(ctx context.Context, _ func()) (err error) {
		for _, pool := range pools {
			if err = checkVersion(ctx, pool); err == nil {
				return nil
			}
		}
		// A standby may show a moment later that the primary, which comes last, was migrated.
		if errors.Is(err, sql.ErrNotMigrated) || errors.Is(err, sql.ErrEncoding) {
			unfit, err = err, nil
		}
		return err
	})
	return unfit
}

func checkVersion(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	err := sql.CheckVersion(ctx, pool)
	if err != nil {
		pool.Reset() // a connection keeps what was wrong when it was made, such as a setting of its role
	}
	return err
}

func (s *stages) startIngest(ctx context.Context, g *errgroup.Group) error {
	if !s.ingest {
		return nil
	}
	pool, err := s.open(ctx, "ingest", int32(ingestConns*len(s.broker.Sources)))
	if err != nil {
		return err
	}
	clientID, err := s.broker.clientID()
	if err != nil {
		return err
	}
	box := inbox.New(pool, s.log)
	var sources []*ingest.Ingester
	for _, source := range s.broker.Sources {
		stage, err := ingest.New(box, ingest.Options{
			URL: s.broker.url(source), Cluster: s.broker.Cluster, Stream: s.broker.stream(source), Channel: s.broker.Channel,
			TLS: s.broker.Files, ClientID: clientID, Log: s.log, Metrics: s.registry, Trace: s.trace,
		})
		if err != nil {
			return err
		}
		sources = append(sources, stage)
		g.Go(func() error { return stage.Run(ctx) })
	}
	lost := func() bool {
		return slices.ContainsFunc(sources, func(g *ingest.Ingester) bool { return !g.Connected() })
	}
	s.checks["broker"] = func(context.Context) error {
		if lost() {
			return errors.New("no session with the broker")
		}
		return nil
	}
	s.roles["ingest"] = func() string {
		if lost() {
			return "waiting for the broker"
		}
		return "receiving"
	}
	return nil
}

func (s *stages) startProjector(ctx context.Context, g *errgroup.Group) error {
	if !s.projector {
		return nil
	}
	pool, err := s.open(ctx, "projector", projectorConns)
	if err != nil {
		return err
	}
	stage, err := projector.New(pool, inbox.New(pool, s.log), projector.Options{
		Schema: s.schema, Log: s.log, Metrics: s.registry, Trace: s.trace, LookupP99: s.lookupP99,
	})
	if err != nil {
		return err
	}
	s.roles["projector"] = func() string {
		if stage.Leads() {
			return "leading"
		}
		return "standing by"
	}
	g.Go(func() error { return stage.Run(ctx) })
	return nil
}

func (s *stages) startQuery(ctx context.Context, g *errgroup.Group) error {
	if !s.query {
		return nil
	}
	s.checks["running"] = func(context.Context) error {
		if ctx.Err() != nil {
			return errors.New("the service is stopping")
		}
		return nil
	}
	answering, cancel := grace.Context(ctx, s.drain)
	g.Go(func() error { <-answering.Done(); cancel(); return nil })
	pool, err := s.open(ctx, "query", queryConns)
	if err != nil {
		return err
	}
	read, primary := pool, (*pgxpool.Pool)(nil)
	if s.readURL != "" {
		primary = pool
		if read, err = s.openAt(ctx, s.readURL, "read", readConns); err != nil {
			return err
		}
	}
	missing, err := s.startWatching(answering, g)
	if err != nil {
		return err
	}
	options := query.Options{Log: s.log, Metrics: s.registry, Trace: s.trace, Primary: primary, Tokens: s.tokens, Checks: s.checks, CacheBytes: s.cacheBytes,
		Stats: func(ctx context.Context) (query.Stats, error) {
			b, err := verify.Stats(ctx, pool)
			messages, gaps := missing.settled()
			return query.Stats{Received: b.Received, Orders: b.Orders, Duplicates: b.Duplicates,
				DeadLetters: b.DeadLetters, Pending: b.Pending, Missing: messages, Gaps: gaps}, err
		},
		Missing: missing.settled,
		Roles:   s.says,
	}
	if err := s.offerOperator(ctx, &options); err != nil {
		return err
	}
	stage, err := query.New(read, options)
	if err != nil {
		return err
	}
	s.roles["query"] = stage.Role
	g.Go(func() error { return stage.Run(answering) })
	s.answers.Store(stage)
	server := stage.HTTPServer()
	server.TLSConfig = s.tls
	server.Handler = leaving(ctx, server.Handler)
	g.Go(func() error { return serveHTTP(answering, server, s.listener) })
	return nil
}

// says is what each stage does right now.
func (s *stages) says() map[string]string {
	roles := make(map[string]string, len(s.roles))
	for stage, role := range s.roles {
		roles[stage] = role()
	}
	return roles
}

// startWatching looks for what never came and for what is pending. It has connections of its own, for the first look for
// gaps reads all of the log.
func (s *stages) startWatching(ctx context.Context, g *errgroup.Group) (*missing, error) {
	pool, err := s.open(ctx, "watch", watchConns)
	if err != nil {
		return nil, err
	}
	m := newMissing(s.registry)
	g.Go(func() error { return m.follow(ctx, s, pool) })
	g.Go(func() error { s.followPending(ctx, pool); return nil })
	return m, nil
}

func (s *stages) lookupP99() time.Duration {
	if stage := s.answers.Load(); stage != nil {
		return stage.LookupP99()
	}
	return 0
}

// offerOperator adds what takes operators' decisions and orders: nothing where they cannot be recorded.
func (s *stages) offerOperator(ctx context.Context, o *query.Options) error {
	pool, err := s.open(ctx, "operator", operatorConns)
	if err != nil || pool.Config().ConnConfig.User == readerRole {
		return err
	}
	box := inbox.New(pool, s.log)
	p, err := projector.New(pool, box, projector.Options{Schema: s.schema, Log: s.log})
	if err != nil {
		return err
	}
	o.Operator, o.Judge, o.Replays = box, p.Passing, s.replays(p)
	return nil
}

// open makes a stage's pool, to be closed when all stages have ended.
func (s *stages) open(ctx context.Context, stage string, conns int32) (*pgxpool.Pool, error) {
	return s.openAt(ctx, s.databaseURL, stage, conns)
}

func (s *stages) openAt(ctx context.Context, url, stage string, conns int32) (*pgxpool.Pool, error) {
	pool, err := sql.Open(ctx, url, "orderbox "+stage, conns)
	if err == nil {
		s.pools = append(s.pools, pool)
	}
	return pool, err
}

// leaving asks clients to come with another connection once ctx has ended, and so to somebody else.
func leaving(ctx context.Context, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ctx.Err() != nil {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

func serveHTTP(ctx context.Context, server *http.Server, listener net.Listener) error {
	stopped := make(chan error, 1)
	defer context.AfterFunc(ctx, func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		err := server.Shutdown(late)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close() // somebody's connection hangs; that is no failure of ours
		}
		stopped <- err
	})()
	serve := server.Serve
	if server.TLSConfig != nil {
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	if err := serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return <-stopped
}
