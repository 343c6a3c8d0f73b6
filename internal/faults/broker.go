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

// startBrokers starts the nodes of the broker and returns when it takes a session.
func (w *World) startBrokers(ctx context.Context, count int, synced bool, newNode func(n, count int, synced bool) (*server, error)) error {
	var urls []string
	for n := range count {
		broker, err := newNode(n, count, synced)
		if err != nil {
			return err
		}
		w.brokers = append(w.brokers, broker)
		urls = append(urls, "nats://"+broker.address())
	}
	w.BrokerURL = strings.Join(urls, ",")
	var starting errgroup.Group
	for _, broker := range w.brokers {
		starting.Go(func() error { return broker.create(ctx) })
	}
	if err := starting.Wait(); err != nil {
		return err
	}
	return w.openSession(ctx)
}

func (w *World) newBroker(n, count int, synced bool) (*server, error) {
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
		name: brokerName(n), image: w.images.STAN, ports: ports,
		front: w.front, links: []link{{w.brokerLink, brokerName(n), Service}},
		modify: func(host *container.HostConfig) {
			// Without a name, it goes with its container: a new one has an empty store.
			host.Mounts = []mount.Mount{{Type: mount.TypeVolume, Target: "/data"}}
		},
		ready: w.openSession,
	}
	if count > 1 {
		var peers, routes []string
		for peer := range count {
			peers = append(peers, brokerName(peer))
			routes = append(routes, "nats://"+peerName(peer)+":6222")
		}
		options = append(options, "--clustered", "--cluster_node_id", brokerName(n), "--cluster_peers", strings.Join(peers, ","),
			"--cluster_log_path", "/data/raft", "--cluster_sync="+sync,
			// Whom a node is cut off from it must not reach by an address that somebody told it.
			"--cluster_name", clusterID, "--cluster", "nats://0.0.0.0:6222", "--no_advertise", "--routes", strings.Join(routes, ","))
		broker.links = append(broker.links, link{w.peerLink, peerName(n), Broker})
		broker.ready = func(ctx context.Context) error { return waitForNode(ctx, broker) }
		broker.role = broker.stanRole
	}
	broker.options = []testcontainers.ContainerCustomizer{testcontainers.WithCmd(options...)}
	return broker, nil
}

func brokerName(n int) string { return "broker-" + strconv.Itoa(n) }

// peerName is what its peers call a broker. It is not the services' name for it, which would lead its peers over the
// services' link as well.
func peerName(n int) string { return "peer-" + strconv.Itoa(n) }

// brokersInside are the brokers' URLs as the services see them.
func (w *World) brokersInside() (urls []string) {
	for n := range w.brokers {
		urls = append(urls, "nats://"+brokerName(n)+":4222")
	}
	return urls
}

// openSession opens and closes a session with the broker, as soon as it takes one.
func (w *World) openSession(ctx context.Context) error {
	p, err := publisher.New(publisher.Options{URL: w.BrokerURL, Cluster: w.Cluster, Stream: w.Stream, Channel: w.Channel, ConnectWait: startTimeout})
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

// Leaders are the brokers of a cluster that take themselves for its leader. There is none while they elect one,
// and for a moment there may be two: one that is cut off does not know at once that the others go on without it.
func (w *World) Leaders(ctx context.Context) (leaders []int) {
	for n, broker := range w.brokers {
		if role, err := broker.role(ctx); err == nil && role == leader {
			leaders = append(leaders, n)
		}
	}
	return leaders
}
