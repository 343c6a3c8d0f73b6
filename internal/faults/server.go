package faults

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"strconv"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"

	"orderbox/internal/testservers"
	"orderbox/publisher"
)

// server is one container of the world, by what it takes to make it again.
type server struct {
	name    string
	image   string
	port    string // in the container, as 4222/tcp
	publish uint16 // on 127.0.0.1
	links   []*testcontainers.DockerNetwork
	front   *testcontainers.DockerNetwork
	options []testcontainers.ContainerCustomizer
	modify  func(*container.HostConfig)
	ready   func(context.Context) error // returns when it takes connections; nil does not wait

	container testcontainers.Container
}

// create makes and starts the container, in place of the one before, and waits until it is ready.
func (s *server) create(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	networks := []string{s.front.Name}
	aliases := map[string][]string{}
	for _, link := range s.links {
		networks = append(networks, link.Name)
		aliases[link.Name] = []string{s.name}
	}
	options := append([]testcontainers.ContainerCustomizer{
		testcontainers.WithExposedPorts(s.port),
		testcontainers.CustomizeRequestOption(func(req *testcontainers.GenericContainerRequest) error {
			req.Networks, req.NetworkAliases = networks, aliases
			return nil
		}),
		testcontainers.WithHostConfigModifier(func(host *container.HostConfig) {
			host.PortBindings = network.PortMap{network.MustParsePort(s.port): {{
				HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), HostPort: strconv.Itoa(int(s.publish)),
			}}}
			s.modify(host)
		}),
	}, s.options...)
	made, err := testcontainers.Run(ctx, s.image, options...)
	if made != nil {
		s.container = made
	}
	if err != nil {
		return err
	}
	return s.wait(ctx)
}

func (s *server) wait(ctx context.Context) error {
	if s.ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.ready(ctx); err != nil {
		return fmt.Errorf("wait for the %s: %w; it said last %s", s.name, err, s.lastWords(context.WithoutCancel(ctx)))
	}
	return nil
}

// remove removes the container and its volumes.
func (s *server) remove() error {
	return testcontainers.TerminateContainer(s.container, testcontainers.StopTimeout(0))
}

func (s *server) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(s.publish))) }

// lastWords is the end of the container's log.
func (s *server) lastWords(ctx context.Context) string {
	const most = 16 << 10
	log, err := s.container.Logs(ctx)
	if err != nil {
		return err.Error()
	}
	defer log.Close()
	all, err := io.ReadAll(log)
	if err != nil {
		return err.Error()
	}
	return string(all[max(0, len(all)-most):])
}

func (w *World) startBroker(ctx context.Context, synced bool) error {
	port, err := choosePort()
	if err != nil {
		return err
	}
	w.BrokerURL = "nats://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))
	w.broker = &server{
		name: "broker", image: w.images.STAN, port: "4222/tcp", publish: port,
		front: w.front, links: []*testcontainers.DockerNetwork{w.brokerLink},
		options: []testcontainers.ContainerCustomizer{
			// As compose.yaml has it, and as impatient with dead clients as the other test servers.
			testcontainers.WithCmd("--cluster_id", clusterID, "--store", "file", "--dir", "/data", "--file_sync="+strconv.FormatBool(synced),
				"--max_channels", "0", "--max_subs", "0", "--max_msgs", "0", "--max_bytes", "0",
				"--hb_interval", "3s", "--hb_timeout", "2s", "--hb_fail_count", "2"),
		},
		modify: func(host *container.HostConfig) {
			// Without a name, it goes with its container: a new one has an empty store.
			host.Mounts = []mount.Mount{{Type: mount.TypeVolume, Target: "/data"}}
		},
	}
	w.broker.ready = w.openSession
	return w.broker.create(ctx)
}

// openSession opens and closes a session with the broker, as soon as it takes one.
func (w *World) openSession(ctx context.Context) error {
	p, err := publisher.New(publisher.Options{URL: w.BrokerURL, Cluster: w.Cluster, Channel: w.Channel, ConnectWait: startTimeout})
	if err != nil {
		return err
	}
	_, err = p.Publish(ctx, func(func([]byte, error) bool) {})
	return err
}

func (w *World) startDatabase(ctx context.Context, synced bool) error {
	port, err := choosePort()
	if err != nil {
		return err
	}
	w.database = &server{
		name: "database", image: w.images.Postgres, port: "5432/tcp", publish: port,
		front: w.front, links: []*testcontainers.DockerNetwork{w.databaseLink},
		options: []testcontainers.ContainerCustomizer{
			testcontainers.WithEnv(map[string]string{"POSTGRES_PASSWORD": testservers.Password}),
			// Checkpoints cost little without a disk to wait for, and leave little to do again after a kill.
			testcontainers.WithCmd("-c", "fsync="+strconv.FormatBool(synced), "-c", "checkpoint_timeout=30s"),
		},
		modify: func(*container.HostConfig) {},
	}
	admin := testservers.SuperuserURL(w.database.address(), "postgres")
	w.database.ready = func(ctx context.Context) error { return testservers.WaitForPostgres(ctx, admin) }
	if err := w.database.create(ctx); err != nil {
		return err
	}
	w.db, err = testservers.Migrate(ctx, admin)
	return err
}

func (w *World) newService(n int) (*server, error) {
	port, err := choosePort()
	if err != nil {
		return nil, err
	}
	seen, err := url.Parse(w.db.ServiceURL)
	if err != nil {
		return nil, err
	}
	seen.Host = "database:5432"
	return &server{
		// Any image will do: the program needs nothing of it.
		name: "service-" + strconv.Itoa(n), image: w.images.STAN, port: "8080/tcp", publish: port,
		front: w.front, links: []*testcontainers.DockerNetwork{w.brokerLink, w.databaseLink},
		options: []testcontainers.ContainerCustomizer{
			testcontainers.WithEntrypoint("/orderbox"), testcontainers.WithCmd("serve"),
			testcontainers.WithEnv(map[string]string{
				"ORDERBOX_DATABASE_URL": seen.String(),
				"ORDERBOX_NATS_URL":     "nats://broker:4222", "ORDERBOX_STAN_CLUSTER": clusterID, "ORDERBOX_CHANNEL": channel,
				"ORDERBOX_CLIENT_ID": "service-" + strconv.Itoa(n), "ORDERBOX_LISTEN": "0.0.0.0:8080",
			}),
			testcontainers.WithConfigModifier(func(config *container.Config) { config.User = "65532:65532" }),
		},
		modify: func(host *container.HostConfig) {
			host.ReadonlyRootfs = true
			host.CapDrop, host.SecurityOpt = []string{"ALL"}, []string{"no-new-privileges:true"}
			host.Mounts = []mount.Mount{{Type: mount.TypeBind, Source: w.binary, Target: "/orderbox", ReadOnly: true}}
		},
	}, nil
}

// choosePort finds a free port below those that the system gives to outgoing connections: one of them
// could take it while its container is down.
func choosePort() (uint16, error) {
	const first, last, attempts = 20000, 32000, 50
	for range attempts {
		port := first + rand.N(last-first)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return uint16(port), listener.Close()
		}
	}
	return 0, fmt.Errorf("no free port between %d and %d", first, last)
}
