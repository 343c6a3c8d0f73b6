package faults

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"

	"orderbox/internal/testservers"
)

// port is where a server listens.
type port struct {
	inside  string // in the container, as 4222/tcp
	outside uint16 // on 127.0.0.1
}

func (p port) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(p.outside))) }

// link is a server's end of a network without a way out.
type link struct {
	*testcontainers.DockerNetwork
	alias string // what the others on it call the server
	to    Target // who the others are
}

// server is one container of the world, by what it takes to make it again.
type server struct {
	name    string
	image   string
	ports   []port // the first is the one that it is there for
	links   []link
	front   *testcontainers.DockerNetwork
	options []testcontainers.ContainerCustomizer
	modify  func(*container.HostConfig)
	ready   func(context.Context) error           // returns when it takes connections; nil does not wait
	role    func(context.Context) (string, error) // of a node of a cluster

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
		aliases[link.Name] = []string{link.alias}
	}
	var exposed []string
	bindings := network.PortMap{}
	for _, p := range s.ports {
		exposed = append(exposed, p.inside)
		bindings[network.MustParsePort(p.inside)] = []network.PortBinding{{
			HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), HostPort: strconv.Itoa(int(p.outside)),
		}}
	}
	options := append([]testcontainers.ContainerCustomizer{
		testcontainers.WithExposedPorts(exposed...),
		testcontainers.CustomizeRequestOption(func(req *testcontainers.GenericContainerRequest) error {
			req.Networks, req.NetworkAliases = networks, aliases
			return nil
		}),
		testcontainers.WithHostConfigModifier(func(host *container.HostConfig) {
			host.PortBindings = bindings
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

func (s *server) address() string { return s.ports[0].address() }

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

func (w *World) startDatabase(ctx context.Context, settings []string, standby Replication) error {
	ports, err := choosePorts("5432/tcp")
	if err != nil {
		return err
	}
	w.database = &server{
		name: "database", image: w.images.Postgres, ports: ports,
		front: w.front, links: []link{{w.databaseLink, "database", Service}},
		options: []testcontainers.ContainerCustomizer{
			testcontainers.WithEnv(map[string]string{"POSTGRES_PASSWORD": testservers.Password}),
			testcontainers.WithCmd(settings...),
		},
		modify: func(*container.HostConfig) {},
	}
	if w.replicationLink != nil {
		w.database.links = append(w.database.links, link{w.replicationLink, "primary", Database})
	}
	admin := testservers.SuperuserURL(w.database.address(), "postgres")
	w.database.ready = func(ctx context.Context) error { return testservers.WaitForPostgres(ctx, admin) }
	if err := w.database.create(ctx); err != nil {
		return err
	}
	if w.db, err = testservers.Migrate(ctx, admin); err != nil || standby == Unreplicated {
		return err
	}
	return w.startStandby(ctx, settings, standby)
}

func (w *World) newService(n int) (*server, error) {
	ports, err := choosePorts("8080/tcp")
	if err != nil {
		return nil, err
	}
	name := "service-" + strconv.Itoa(n)
	database, err := w.databaseInside(n)
	if err != nil {
		return nil, err
	}
	service := w.program(name, "serve")
	service.ports = ports
	service.links = append(service.links, link{w.databaseLink, name, Database})
	service.options = append(service.options, testcontainers.WithEnv(database),
		testcontainers.WithEnv(map[string]string{"ORDERBOX_LISTEN": "0.0.0.0:8080"}))
	return service, nil
}

// program runs a command of the service's program, which receives from the brokers.
func (w *World) program(name, command string) *server {
	return &server{
		// Any image will do: the program needs nothing of it.
		name: name, image: w.images.STAN, front: w.front, links: w.receiverLinks(name),
		options: []testcontainers.ContainerCustomizer{
			testcontainers.WithEntrypoint("/orderbox"), testcontainers.WithCmd(command),
			testcontainers.WithEnv(w.receiving()), testcontainers.WithEnv(map[string]string{"ORDERBOX_CLIENT_ID": name}),
			testcontainers.WithConfigModifier(func(config *container.Config) { config.User = "65532:65532" }),
		},
		modify: func(host *container.HostConfig) {
			host.ReadonlyRootfs = true
			host.CapDrop, host.SecurityOpt = []string{"ALL"}, []string{"no-new-privileges:true"}
			host.Mounts = []mount.Mount{{Type: mount.TypeBind, Source: w.binary, Target: "/orderbox", ReadOnly: true}}
		},
	}
}

// choosePorts finds free ports for those in a container, below those that the system gives to outgoing
// connections: one of them could take it while its container is down.
func choosePorts(inside ...string) (ports []port, err error) {
	const first, last, attempts = 20000, 32000, 50
	for range attempts {
		chosen := first + rand.N(last-first)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(chosen)))
		if err != nil {
			continue
		}
		// Open until all are chosen, so that no two are the same.
		defer listener.Close()
		if ports = append(ports, port{inside[len(ports)], uint16(chosen)}); len(ports) == len(inside) {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("no free port between %d and %d", first, last)
}
