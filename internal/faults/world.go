package faults

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
	"golang.org/x/sync/errgroup"

	"orderbox/internal/testservers"
	"orderbox/publisher"
)

const (
	// buildTimeout bounds the making of a world, with the service's compilation in it, startTimeout the
	// start of one container, for a machine with much else to do.
	buildTimeout, startTimeout = 10 * time.Minute, 5 * time.Minute
	clusterID                  = "orderbox-faults"
	channel                    = "orders"
)

// Options says how large a world is.
type Options struct {
	// Services is how many replicas of the service there are, 1 when 0.
	Services int
	// Brokers is how many nodes STAN has, 1 when 0. Several are a cluster.
	Brokers int
	// Streams is how many nodes JetStream has. The services receive from it instead of STAN; with Brokers, from both, and
	// a relay copies from STAN into the stream.
	Streams int
	// Standby adds a second database, a hot standby of the first, which services with odd numbers read orders from.
	Standby Replication
	// Unsynced has broker and database leave the writing to the disk to the system. Only a crash of the whole
	// machine, which no fault here is, would show the difference; a long run has no time for a slow disk.
	Unsynced bool
}

// World is a broker or a cluster of them, a database and the services between them. Make it with NewWorld.
type World struct {
	binary string
	images testservers.Images
	db     testservers.DB
	engine *testcontainers.DockerClient

	front, brokerLink, streamLink, peerLink, databaseLink, replicationLink *testcontainers.DockerNetwork

	broker, stream    cluster // where there are not both, the stream has no nodes
	database, standby *server // without a standby nil
	services, relays  []*server
}

// NewWorld makes a world that lives as long as the test. It skips the test where the test servers do not
// run in containers. The services are started and may not be ready yet.
func NewWorld(tb testing.TB, o Options) *World {
	tb.Helper()
	w := &World{images: testservers.Containers(tb)}
	ctx, cancel := context.WithTimeout(tb.Context(), buildTimeout)
	defer cancel()
	tb.Cleanup(func() { w.end(tb) })
	if err := w.make(ctx, o); err != nil {
		tb.Fatalf("make a world: %v", err)
	}
	return w
}

// make leaves in w what it has made, also when it returns an error.
func (w *World) make(ctx context.Context, o Options) (err error) {
	if w.binary, err = orderbox(); err != nil {
		return err
	}
	if w.engine, err = testcontainers.NewDockerClientWithOpts(ctx); err != nil {
		return err
	}
	if w.front, err = network.New(ctx); err != nil {
		return fmt.Errorf("make the front network: %w", err)
	}
	links := []**testcontainers.DockerNetwork{&w.brokerLink, &w.peerLink, &w.databaseLink}
	if o.Standby != Unreplicated {
		links = append(links, &w.replicationLink)
	}
	both := o.Brokers > 0 && o.Streams > 0
	if both {
		links = append(links, &w.streamLink)
	}
	for _, link := range links {
		// Ports are published where the way out is, so never on a link.
		if *link, err = network.New(ctx, network.WithInternal()); err != nil {
			return fmt.Errorf("make a link: %w", err)
		}
	}

	var servers errgroup.Group
	w.broker.target, w.broker.link = Broker, w.brokerLink
	if o.Streams > 0 && !both {
		servers.Go(func() error { return w.startBrokers(ctx, &w.broker, o.Streams, !o.Unsynced, w.newStream) })
	} else {
		servers.Go(func() error { return w.startBrokers(ctx, &w.broker, max(o.Brokers, 1), !o.Unsynced, w.newBroker) })
	}
	if both {
		w.stream.target, w.stream.link = Stream, w.streamLink
		servers.Go(func() error { return w.startBrokers(ctx, &w.stream, o.Streams, !o.Unsynced, w.newStream) })
	}
	servers.Go(func() error { return w.startDatabase(ctx, databaseSettings(!o.Unsynced), o.Standby) })
	if err := servers.Wait(); err != nil {
		return fmt.Errorf("start the servers: %w", err)
	}
	for n := range max(o.Services, 1) {
		service, err := w.newService(n)
		if err != nil {
			return err
		}
		w.services = append(w.services, service)
		if err := service.create(ctx); err != nil {
			return fmt.Errorf("start service %d: %w", n, err)
		}
	}
	if both {
		return w.startRelay(ctx)
	}
	return nil
}

// Publishing returns what a publisher needs to reach the broker: its URL, or several with commas between them, the channel,
// and the cluster's id of STAN, or the name of the stream. Where there are both it is STAN.
func (w *World) Publishing() publisher.Options { return w.broker.to }

// Streaming returns what a publisher needs to reach the stream beside STAN; nothing where there are not both.
func (w *World) Streaming() publisher.Options { return w.stream.to }

// Database returns the migrated database, by the roles that log in to it; with a standby, of the one that is the primary.
func (w *World) Database() testservers.DB { return w.db }

// ServiceURLs returns where the services answer, in the order of their numbers.
func (w *World) ServiceURLs() []string {
	var urls []string
	for _, service := range w.services {
		urls = append(urls, "http://"+service.address())
	}
	return urls
}

// Life names the process that service n is: another value is another process, though it be the same
// container. It is empty while none runs.
func (w *World) Life(ctx context.Context, n int) (string, error) {
	state, err := w.services[n].container.State(ctx)
	if err != nil || !state.Running {
		return "", err
	}
	return fmt.Sprintf("%.12s process %d since %s", w.services[n].container.GetContainerID(), state.Pid, state.StartedAt), nil
}

// Orderbox runs a command of the service's program on this machine, as an operator would, against the
// world's database, and returns what it printed.
func (w *World) Orderbox(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, w.binary, args...)
	cmd.Env = append(os.Environ(), "ORDERBOX_DATABASE_URL="+w.db.ServiceURL)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("orderbox %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// end removes everything, and shows what a failed test's servers said last.
func (w *World) end(tb testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for _, s := range slices.Concat(w.broker.nodes, w.stream.nodes, w.databases(), w.services, w.relays) {
		if s == nil || s.container == nil {
			continue
		}
		if tb.Failed() {
			tb.Logf("the %s said last\n%s", s.name, s.lastWords(ctx))
		}
		if err := testcontainers.TerminateContainer(s.container, testcontainers.StopTimeout(0)); err != nil {
			tb.Errorf("remove the %s: %v", s.name, err)
		}
	}
	for _, n := range []*testcontainers.DockerNetwork{w.front, w.brokerLink, w.streamLink, w.peerLink, w.databaseLink, w.replicationLink} {
		if n == nil {
			continue
		}
		if err := n.Remove(ctx); err != nil {
			tb.Errorf("remove a network: %v", err)
		}
	}
	if w.engine != nil {
		w.engine.Close()
	}
}

// orderbox builds the service's program, once for all worlds of the test binary. It is a package
// variable for the reason that testservers has one.
var orderbox = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "orderbox-faults-")
	if err != nil {
		return "", err
	}
	testservers.AtExit(func() error { return os.RemoveAll(dir) })
	binary := filepath.Join(dir, "orderbox")
	build := exec.Command("go", "build", "-o", binary, "orderbox/cmd/orderbox")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the service: %w: %s", err, out)
	}
	// The service is nobody in particular and must get through to it.
	return binary, os.Chmod(dir, 0o755)
})
