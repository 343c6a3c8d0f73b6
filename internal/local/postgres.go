package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// superuser is the role that initdb makes.
const superuser = "postgres"

// readyTimeout bounds the wait for a PostgreSQL that is alive but does not let us in: after a crash it
// replays up to max_wal_size of log first.
const readyTimeout = 5 * time.Minute

// PostgresOptions says where a PostgreSQL keeps its state and how it runs.
type PostgresOptions struct {
	// Dir holds all of the server's state: data, postgres.log, and nothing else. Made when missing.
	Dir string
	// Port is the TCP port on 127.0.0.1; 0 takes a free one, another one at each start.
	Port int
	// BinDir is where the programs postgres and initdb are; empty looks on PATH, then where
	// distributions put them, then downloads them.
	BinDir string
	// Durable false trades safety against a crash of the machine for speed: for tests only. A crash of
	// the process alone loses nothing either way.
	Durable bool
	// Settings are server settings that beat those of this package (postgresql.conf names).
	Settings map[string]string
	// Log receives what this package does, not the server's own log, which is in Dir/postgres.log.
	// Nil discards.
	Log *slog.Logger
}

// Postgres is a running PostgreSQL server, a child of this process. All methods may be called
// concurrently.
type Postgres struct {
	port     int
	password string
	data     string // free of symbolic links: a later start recognises the process by it
	logFile  *serverLog

	process  *os.Process
	stopping atomic.Bool
	done     chan struct{}
	err      error // set before done is closed
}

// StartPostgres starts a PostgreSQL 15 or later on the data in o.Dir, which it initialises the first
// time, and returns when the server accepts connections. A server left running there by a process that
// was killed is stopped first. ctx bounds the start alone; the server runs until Stop, or until this
// process ends (on Linux even by kill -9).
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	// Others may pass through: run as root, the server is another user.
	if err := os.MkdirAll(o.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("make PostgreSQL's directory: %w", err)
	}
	dir, err := realPath(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir

	cluster, bin, err := openCluster(ctx, o, defaultFinder(o.BinDir))
	if err != nil {
		return nil, err
	}
	if err := stopEarlier(ctx, cluster.data, o.Log); err != nil {
		return nil, err
	}

	const attempts = 5 // a free port may be taken by somebody else before PostgreSQL binds it
	for attempt := 1; ; attempt++ {
		port, err := choosePort(o.Port)
		if err != nil {
			return nil, err
		}
		p, err := launch(ctx, o, cluster, bin, port)
		if err == nil {
			o.Log.Info("postgresql started", "version", bin.major, "port", port, "data", cluster.data)
			return p, nil
		}
		if o.Port != 0 || attempt == attempts || ctx.Err() != nil || portFree(port) {
			return nil, err
		}
	}
}

// realPath is path, absolute and free of symbolic links.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}

// launch starts the server process and waits until it accepts connections.
func launch(ctx context.Context, o PostgresOptions, c cluster, bin binaries, port int) (*Postgres, error) {
	logFile, err := openServerLog(filepath.Join(o.Dir, "postgres.log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(bin.dir, "postgres"), serverArguments(o, c.data, port)...)
	cmd.Dir = c.data
	cmd.Env = serverEnvironment()
	cmd.Stdout, cmd.Stderr = logFile.file, logFile.file
	cmd.SysProcAttr = processAttributes(c.account)

	p := &Postgres{port: port, password: c.password, data: c.data, logFile: logFile, done: make(chan struct{})}
	exited, err := startProcess(cmd)
	if err != nil {
		logFile.file.Close()
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	p.process = cmd.Process
	go p.watch(exited)

	if err := p.waitReady(ctx); err != nil {
		return nil, errors.Join(err, p.Stop(context.WithoutCancel(ctx)))
	}
	return p, nil
}

func serverArguments(o PostgresOptions, data string, port int) []string {
	settings := map[string]string{
		"listen_addresses": "127.0.0.1",
		"port":             strconv.Itoa(port),
		// A socket's directory would have to suit every system and user; TCP with a password does.
		"unix_socket_directories": "",
		"max_connections":         "100",
		"logging_collector":       "off", // the log is our file, and this package reads its end
		"log_destination":         "stderr",
		"log_timezone":            "UTC",
		"timezone":                "UTC",
		"cluster_name":            "orderbox",
		// An error's details and its statement quote rows, and rows are people's data.
		"log_error_verbosity":     "terse",
		"log_min_error_statement": "panic",
	}
	if !o.Durable {
		settings["fsync"] = "off"
		settings["full_page_writes"] = "off"
	}
	maps.Copy(settings, o.Settings)
	arguments := []string{"-D", data} // a later start recognises the process by these two
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		arguments = append(arguments, "-c", name+"="+settings[name])
	}
	return arguments
}

// watch closes done when the process has ended, and says why in err unless that was asked for.
func (p *Postgres) watch(exited <-chan error) {
	exit := <-exited
	if !p.stopping.Load() {
		reason := "it ended without an error"
		if exit != nil {
			reason = exit.Error()
		}
		p.err = fmt.Errorf("PostgreSQL stopped by itself (%s): %s; its log is %s", reason, p.logFile.tail(), p.logFile.path)
	}
	p.logFile.file.Close()
	close(p.done)
}

// URL is the superuser's connection URL for a database. It holds the password.
func (p *Postgres) URL(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, p.password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Port is the TCP port on 127.0.0.1 that the server listens on.
func (p *Postgres) Port() int { return p.port }

// Done is closed when the server process has ended, for whatever reason.
func (p *Postgres) Done() <-chan struct{} { return p.done }

// Err is why the server ended by itself: nil while it runs and when it ended by Stop.
func (p *Postgres) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Stop ends the server and returns when it has ended. It breaks off connections and writes everything
// to disk; if that takes longer than ctx lets it, the server ends at once, an error says so, and the
// next start replays the log. To stop a server that has ended is no error.
func (p *Postgres) Stop(ctx context.Context) error {
	p.stopping.Store(true)
	p.process.Signal(syscall.SIGINT) // fails only when it has ended, which the wait notices
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}

	const quitTimeout = 15 * time.Second // PostgreSQL gives its own children 5 s after SIGQUIT
	p.process.Signal(syscall.SIGQUIT)
	select {
	case <-p.done:
	case <-time.After(quitTimeout):
		p.process.Kill()
		<-p.done
	}
	return fmt.Errorf("PostgreSQL did not stop in time and was ended at once; it loses nothing and replays its log at the next start: %w", context.Cause(ctx))
}
