package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/testcontainers/testcontainers-go"
	"golang.org/x/sync/errgroup"

	"orderbox/publisher"
)

// cluster is a broker of one node or several.
type cluster struct {
	target Target
	link   *testcontainers.DockerNetwork // to who receives from it
	nodes  []*server
	to     publisher.Options // what the test needs to reach it
}

// nodeName is what a node is called by who receives from it.
func (c *cluster) nodeName(n int) string { return string(c.target) + "-" + strconv.Itoa(n) }

// peerName is what its peers call a node. It is not the services' name for it, which would lead its peers over the
// services' link as well.
func (c *cluster) peerName(n int) string { return string(c.target) + "-peer-" + strconv.Itoa(n) }

// inside are the nodes' URLs as the services see them, with commas between them.
func (c *cluster) inside() string {
	var urls []string
	for n := range c.nodes {
		urls = append(urls, "nats://"+c.nodeName(n)+":4222")
	}
	return strings.Join(urls, ",")
}

// startBrokers starts the nodes of a broker and returns when it takes a session.
func (w *World) startBrokers(ctx context.Context, c *cluster, count int, synced bool,
	newNode func(c *cluster, n, count int, synced bool) (*server, error)) error {
	var urls []string
	for n := range count {
		node, err := newNode(c, n, count, synced)
		if err != nil {
			return err
		}
		c.nodes = append(c.nodes, node)
		urls = append(urls, "nats://"+node.address())
	}
	c.to.URL, c.to.Channel = strings.Join(urls, ","), channel
	var starting errgroup.Group
	for _, node := range c.nodes {
		starting.Go(func() error { return node.create(ctx) })
	}
	if err := starting.Wait(); err != nil {
		return err
	}
	return c.openSession(ctx)
}

func (w *World) newBroker(c *cluster, n, count int, synced bool) (*server, error) {
	c.to.Cluster = clusterID
	ports, err := choosePorts("4222/tcp", "8222/tcp")
	if err != nil {
		return nil, err
	}
	sync := strconv.FormatBool(synced)
	// As compose.yaml has it, and as impatient with dead clients as the other test servers.
	options := []string{"--cluster_id", clusterID, "--store", "file", "--dir", "/data/store", "--file_sync=" + sync,
		"--max_channels", "0", "--max_subs", "0", "--max_msgs", "0", "--max_bytes", "0",
		"--hb_interval", "3s", "--hb_timeout", "2s", "--hb_fail_count", "2", "--http_port", "8222"}
	broker := &server{
		name: c.nodeName(n), image: w.images.STAN, ports: ports,
		front: w.front, links: []link{{c.link, c.nodeName(n), Service}},
		modify: func(host *container.HostConfig) {
			// Without a name, it goes with its container: a new one has an empty store.
			host.Mounts = []mount.Mount{{Type: mount.TypeVolume, Target: "/data"}}
		},
		ready: c.openSession,
	}
	if count > 1 {
		var peers, routes []string
		for peer := range count {
			peers = append(peers, c.nodeName(peer))
			routes = append(routes, "nats://"+c.peerName(peer)+":6222")
		}
		options = append(options, "--clustered", "--cluster_node_id", c.nodeName(n), "--cluster_peers", strings.Join(peers, ","),
			"--cluster_log_path", "/data/raft", "--cluster_sync="+sync,
			// Whom a node is cut off from it must not reach by an address that somebody told it.
			"--cluster_name", clusterID, "--cluster", "nats://0.0.0.0:6222", "--no_advertise", "--routes", strings.Join(routes, ","))
		broker.links = append(broker.links, link{w.peerLink, c.peerName(n), Broker})
		broker.ready = func(ctx context.Context) error { return waitForNode(ctx, broker) }
		broker.role = broker.stanRole
	}
	broker.options = []testcontainers.ContainerCustomizer{testcontainers.WithCmd(options...)}
	return broker, nil
}

// openSession opens and closes a session with the broker, as soon as it takes one.
func (c *cluster) openSession(ctx context.Context) error {
	o := c.to
	o.ConnectWait = startTimeout
	p, err := publisher.New(o)
	if err != nil {
		return err
	}
	_, err = p.Publish(ctx, func(func([]byte, error) bool) {})
	return err
}

// waitForNode returns when a node of a cluster is a part of it.
func waitForNode(ctx context.Context, broker *server) error {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		role, err := broker.role(ctx)
		if role == leader || role == follower {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is %q: %w", role, errors.Join(ctx.Err(), err))
		case <-again.C:
		}
	}
}

// The roles of a node of a cluster, in its own words.
const (
	leader   = "Leader"
	follower = "Follower"
)

// stanRole is what a node of a STAN cluster takes itself for.
func (s *server) stanRole(ctx context.Context) (string, error) {
	var said struct{ Role string }
	err := s.ask(ctx, "/streaming/serverz", &said)
	return said.Role, err
}

// ask asks a broker's monitoring port.
func (s *server) ask(ctx context.Context, path string, said any) error {
	const answerTimeout = time.Second // one that is paused gives none
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.ports[1].address()+path, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return json.NewDecoder(answer.Body).Decode(said)
}

// Leaders are the nodes of a cluster, which is the Broker or the Stream, that take themselves for its leader. There is none
// while they elect one, and for a moment there may be two: one that is cut off does not know at once that the others go on
// without it.
func (w *World) Leaders(ctx context.Context, of Target) (leaders []int) {
	nodes := w.broker.nodes
	if of == Stream {
		nodes = w.stream.nodes
	}
	for n, node := range nodes {
		if role, err := node.role(ctx); err == nil && role == leader {
			leaders = append(leaders, n)
		}
	}
	return leaders
}
