package testservers

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/modules/postgres"
	"github.com/testcontainers/testcontainers-go/wait"
)

// containerTimeout bounds the start of a container.
const containerTimeout = time.Minute

// imagesAtHand returns nil when a container engine answers and has all the images.
func imagesAtHand(images ...string) (err error) {
	// testcontainers panics where it finds no way to an engine.
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("no container engine: %v", reason)
		}
	}()
	// Its reaper would be one more image to pull. Main removes the containers; those of a test binary
	// that was killed carry the label org.testcontainers=true.
	if os.Getenv("TESTCONTAINERS_RYUK_DISABLED") == "" {
		os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	}
	log.SetDefault(log.NewNoopLogger())

	ctx, cancel := context.WithTimeout(context.Background(), containerTimeout)
	defer cancel()
	engine, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return fmt.Errorf("no container engine: %w", err)
	}
	defer engine.Close()
	for _, image := range images {
		if _, err := engine.ImageInspect(ctx, image); err != nil {
			return fmt.Errorf("no image %s at hand (nothing is pulled): %w", image, err)
		}
	}
	return nil
}

// postgresContainer starts PostgreSQL and returns the superuser's URL for a database.
func (s *servers) postgresContainer() (func(database string) string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), containerTimeout)
	defer cancel()
	container, err := postgres.Run(ctx, postgresImage(),
		postgres.WithUsername("postgres"), postgres.WithPassword(Password), postgres.WithDatabase("postgres"),
		testcontainers.WithCmdArgs( // fsync=off is there already
			"-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", maxConnections))
	if container != nil {
		s.onStop(func() error { return testcontainers.TerminateContainer(container) })
	}
	if err != nil {
		return nil, err
	}
	address, err := endpoint(ctx, container, "5432/tcp")
	if err != nil {
		return nil, err
	}
	superuser := func(database string) string { return SuperuserURL(address, database) }
	return superuser, WaitForPostgres(ctx, superuser("postgres"))
}

// SuperuserURL is the superuser's for a database of the server at an address (host:port).
func SuperuserURL(address, database string) string {
	return (&url.URL{Scheme: "postgres", User: url.UserPassword("postgres", Password),
		Host: address, Path: "/" + database, RawQuery: "sslmode=disable"}).String()
}

// WaitForPostgres returns when the server lets the superuser in. The log does not tell: while the image
// initialises, another server runs, which says the same but is not to be reached over TCP.
func WaitForPostgres(ctx context.Context, url string) error {
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL is not ready in time: %w", err)
		case <-retry.C:
		}
	}
}

// stanContainer starts a STAN server with a store in memory, without limits, and as impatient with dead
// clients as the one of package local.
func (s *servers) stanContainer() (STAN, error) {
	ctx, cancel := context.WithTimeout(context.Background(), containerTimeout)
	defer cancel()
	container, err := testcontainers.Run(ctx, stanImage(),
		testcontainers.WithExposedPorts("4222/tcp"),
		testcontainers.WithCmd("--cluster_id", testCluster, "--store", "memory",
			"--max_channels", "0", "--max_subs", "0", "--max_msgs", "0", "--max_bytes", "0",
			"--hb_interval", "3s", "--hb_timeout", "2s", "--hb_fail_count", "2"),
		testcontainers.WithWaitStrategyAndDeadline(containerTimeout, wait.ForLog("Streaming Server is ready")))
	if container != nil {
		s.onStop(func() error { return testcontainers.TerminateContainer(container) })
	}
	if err != nil {
		return STAN{}, err
	}
	address, err := endpoint(ctx, container, "4222/tcp")
	return STAN{URL: "nats://" + address, Cluster: testCluster}, err
}

// endpoint is the address that a container's port is published at. That is this machine in most cases;
// testcontainers takes the gateway for it whenever the tests themselves run in a container, also where
// the engine runs in there with them.
func endpoint(ctx context.Context, container testcontainers.Container, port string) (string, error) {
	published, err := container.MappedPort(ctx, port)
	if err != nil {
		return "", err
	}
	here := net.JoinHostPort("127.0.0.1", published.Port())
	dialer := net.Dialer{Timeout: time.Second}
	if conn, err := dialer.DialContext(ctx, "tcp", here); err == nil {
		conn.Close()
		return here, nil
	}
	return container.PortEndpoint(ctx, port, "")
}
