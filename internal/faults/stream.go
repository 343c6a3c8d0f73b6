package faults

import (
	"context"
	"fmt"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/testcontainers/testcontainers-go"
)

const streamName = "ORDERS"

// receiving is what the services, and the relay, know of the brokers.
func (w *World) receiving() map[string]string {
	source := "stan"
	switch {
	case w.broker.to.Stream != "":
		source = "jetstream"
	case w.stream.nodes != nil:
		source = "stan,jetstream"
	}
	return map[string]string{"ORDERBOX_SOURCE": source, "ORDERBOX_CHANNEL": channel,
		"ORDERBOX_NATS_URL": w.broker.inside(), "ORDERBOX_STAN_CLUSTER": clusterID,
		"ORDERBOX_STREAM_URL": w.stream.inside(), "ORDERBOX_STREAM": streamName}
}

// receiverLinks are a receiver's ends of the links to the brokers.
func (w *World) receiverLinks(name string) []link {
	links := []link{{w.brokerLink, name, Broker}}
	if w.streamLink != nil {
		links = append(links, link{w.streamLink, name, Stream})
	}
	return links
}

// startRelay starts what copies from STAN into the stream.
func (w *World) startRelay(ctx context.Context) error {
	relay := w.program("relay", "cutover")
	w.relays = append(w.relays, relay)
	if err := relay.create(ctx); err != nil {
		return fmt.Errorf("start the relay: %w", err)
	}
	return nil
}

// newStream is a node of JetStream.
func (w *World) newStream(c *cluster, n, count int, synced bool) (*server, error) {
	c.to.Stream = streamName
	ports, err := choosePorts("4222/tcp", "8222/tcp")
	if err != nil {
		return nil, err
	}
	// What the server confirms is on disk, or the default, by which it is within two minutes.
	sync := "2m"
	if synced {
		sync = "always"
	}
	config := fmt.Sprintf("server_name: %s\nhttp_port: 8222\njetstream { store_dir: /data, sync_interval: %s }\n", c.nodeName(n), sync)
	node := &server{
		name: c.nodeName(n), image: w.images.STAN, ports: ports,
		front: w.front, links: []link{{c.link, c.nodeName(n), Service}},
		modify: func(host *container.HostConfig) {
			host.Mounts = []mount.Mount{{Type: mount.TypeVolume, Target: "/data"}}
		},
		ready: c.openSession,
	}
	if count > 1 {
		var routes []string
		for peer := range count {
			routes = append(routes, "nats://"+c.peerName(peer)+":6222")
		}
		config += fmt.Sprintf("cluster { name: %s, listen: 0.0.0.0:6222, no_advertise: true, routes: [%s] }\n", clusterID, strings.Join(routes, ", "))
		node.links = append(node.links, link{w.peerLink, c.peerName(n), c.target})
		node.ready = func(ctx context.Context) error { return waitForNode(ctx, node) }
		node.role = node.streamRole
	}
	node.options = []testcontainers.ContainerCustomizer{
		testcontainers.WithEntrypoint("nats-server"), testcontainers.WithCmd("--config", "/nats.conf"),
		testcontainers.WithFiles(testcontainers.ContainerFile{Reader: strings.NewReader(config), ContainerFilePath: "/nats.conf", FileMode: 0o644}),
	}
	return node, nil
}

// streamRole is what a node takes itself for: the leader is that of the stream, once there is one, and of all the streams'
// assignment until then.
func (s *server) streamRole(ctx context.Context) (string, error) {
	type group struct {
		Leader string
	}
	var said struct {
		Name        string `json:"server_name"`
		MetaCluster group  `json:"meta_cluster"`
		Accounts    []struct {
			Streams []struct {
				Name    string
				Cluster group
			} `json:"stream_detail"`
		} `json:"account_details"`
	}
	if err := s.ask(ctx, "/jsz?streams=true", &said); err != nil {
		return "", err
	}
	leads := said.MetaCluster.Leader
	for _, account := range said.Accounts {
		for _, stream := range account.Streams {
			if stream.Name == streamName {
				leads = stream.Cluster.Leader
			}
		}
	}
	switch leads {
	case "":
		return "", nil // they elect one
	case s.name:
		return leader, nil
	default:
		return follower, nil
	}
}
