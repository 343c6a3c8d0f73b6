package testservers

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// run is what the tests of this binary share. It is a package variable, against the house's rule,
// because the tests of a package have nothing else in common that could carry it.
var run = newServers()

// Main runs the tests, stops the servers that they started, and ends the process.
func Main(m *testing.M) {
	code := m.Run()
	if err := run.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "testservers:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// servers starts each server at most once and stops all of them.
type servers struct {
	kind     func() (kind, error)
	postgres func() (*cluster, error)
	broker   func() (STAN, error)

	mu    sync.Mutex
	stops []func() error
}

func newServers() *servers {
	s := &servers{kind: sync.OnceValues(chooseKind)}
	s.postgres = sync.OnceValues(s.startPostgres)
	s.broker = sync.OnceValues(s.startBroker)
	return s
}

// AtExit has Main call f after the last test.
func AtExit(f func() error) { run.onStop(f) }

func (s *servers) onStop(stop func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stops = append(s.stops, stop)
}

// stop ends everything in the opposite order of the starts.
func (s *servers) stop() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.stops) > 0 {
		last := len(s.stops) - 1
		err = errors.Join(err, s.stops[last]())
		s.stops = s.stops[:last]
	}
	return err
}

// kind is how the shared servers run.
type kind string

const (
	containers kind = "containers"
	onMachine  kind = "local"
)

// chooseKind decides once for all servers, so that a run is either or, and says so.
func chooseKind() (kind, error) {
	chosen := kind(os.Getenv("ORDERBOX_TEST_SERVERS"))
	switch chosen {
	case "":
		chosen = containers
		if imagesAtHand(postgresImage(), stanImage()) != nil {
			chosen = onMachine
		}
	case containers:
		if err := imagesAtHand(postgresImage(), stanImage()); err != nil {
			return "", fmt.Errorf("ORDERBOX_TEST_SERVERS asks for containers: %w", err)
		}
	case onMachine:
	default:
		return "", fmt.Errorf("ORDERBOX_TEST_SERVERS is %q: it may be containers, local or empty", chosen)
	}
	switch chosen {
	case containers:
		fmt.Fprintf(os.Stderr, "testservers: containers (%s, %s)\n", postgresImage(), stanImage())
	case onMachine:
		fmt.Fprintln(os.Stderr, "testservers: local")
	}
	return chosen, nil
}

// Images names the images that the servers run from.
type Images struct {
	Postgres, STAN string
}

// Containers returns the images for tests that make containers of their own, and skips the test where
// the servers run on this machine.
func Containers(tb testing.TB) Images {
	tb.Helper()
	kind, err := run.kind()
	if err != nil {
		tb.Fatal(err)
	}
	if kind != containers {
		tb.Skip("needs containers: set ORDERBOX_TEST_SERVERS=containers where an engine is at hand")
	}
	return Images{Postgres: postgresImage(), STAN: stanImage()}
}

func postgresImage() string { return imageName("ORDERBOX_POSTGRES_IMAGE", "postgres:15") }

func stanImage() string { return imageName("ORDERBOX_STAN_IMAGE", "nats-streaming:0.25.6") }

func imageName(variable, otherwise string) string {
	if name := os.Getenv(variable); name != "" {
		return name
	}
	return otherwise
}

// makeDir makes a temporary directory that every user may pass through, unlike testing's own: run by
// root, PostgreSQL is another user.
func makeDir() (string, error) {
	dir, err := os.MkdirTemp("", "orderbox-test-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711)
}
