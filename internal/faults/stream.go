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

// source is where the services receive from.
func (w *World) source() string {
	if w.Stream != "" {
		return "jetstream"
	}
	return "stan"
}

// newStream is a node of JetStream, in the place of a broker.
func (w *World) newStream(n, count int, synced bool) (*server, error) {
	ports, err := choosePorts("4222/tcp", "8222/tcp")
	if err != nil {
		return nil, err
	}
	// What the server confirms is on disk, or the default, by which it is within two minutes.
	sync := "2m"
	if synced {
		sync = "always"
	}
	config := fmt.Sprintf("server_name: %s\nhttp_port: 8222\njetstream { store_dir: /data, sync_interval: %s }\n", brokerName(n), sync)
	node := &server{
		name: brokerName(n), image: w.images.STAN, ports: ports,
		front: w.front, links: []link{{w.brokerLink, brokerName(n), Service}},
		modify: func(host *container.HostConfig) {
			host.Mounts = []mount.Mount{{Type: mount.TypeVolume, Target: "/data"}}
		},
		ready: w.openSession,
	}
	if count > 1 {
		var routes []string
		for peer := range count {
			routes = append(routes, "nats://"+peerName(peer)+":6222")
		}
		config += fmt.Sprintf("cluster { name: %s, listen: 0.0.0.0:6222, no_advertise: true, routes: [%s] }\n", clusterID, strings.Join(routes, ", "))
		node.links = append(node.links, link{w.peerLink, peerName(n), Broker})
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
