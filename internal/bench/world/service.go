package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Token opens the operator's paths of every Service.
const Token = "bench-operator-token"

const readyWait = 5 * time.Minute

// Service is a process of the program. Stop ends it.
type Service struct {
	// URL is where it answers, if query is among its stages.
	URL string
	// Started is when the process was.
	Started time.Time

	process *os.Process
	log     string
	ended   chan struct{}
	err     error // set before ended is closed
}

// Serve starts the program with these stages, as the names are given to --stages, and more flags. It may not be ready yet.
func (w *World) Serve(ctx context.Context, stages string, flags ...string) (*Service, error) {
	address, err := FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	s, err := w.start(append([]string{"serve", "--stages", stages, "--listen", address, "--drain", "0s", "--log-level", "warn"}, flags...)...)
	if err == nil {
		s.URL = "http://" + address
	}
	return s, err
}

// Run runs a command of the program to its end.
func (w *World) Run(ctx context.Context, arguments ...string) error {
	s, err := w.start(arguments...)
	if err != nil {
		return err
	}
	select {
	case <-s.ended:
		return s.failure()
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), s.Stop())
	}
}

// start starts the program. It ends with this one, however that ends.
func (w *World) start(arguments ...string) (*Service, error) {
	log, err := os.OpenFile(filepath.Join(w.dir, "orderbox.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	s := &Service{log: log.Name(), ended: make(chan struct{})}
	cmd := exec.Command(w.program, arguments...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "ORDERBOX_DATABASE_URL="+w.databaseURL, "ORDERBOX_NATS_URL="+w.stan.URL(),
		"ORDERBOX_STAN_CLUSTER="+cluster, "ORDERBOX_CHANNEL="+channel, "ORDERBOX_OPERATOR_TOKEN="+Token, "ORDERBOX_DATA="+w.dir)
	// A Ctrl-C at the terminal is for the program that measures, which then stops this one.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		defer log.Close()
		runtime.LockOSThread() // the signal comes when the thread ends that started the process
		s.Started = time.Now()
		err := cmd.Start()
		s.process = cmd.Process
		started <- err
		if err == nil {
			s.err = cmd.Wait()
			close(s.ended)
		}
	}()
	return s, <-started
}

// Ready waits until the service says that it is fit to serve.
func (s *Service) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	for {
		if code, _, err := Get(ctx, s.URL+"/readyz"); err == nil && code == http.StatusOK {
			return nil
		}
		select {
		case <-ticks.C:
		case <-s.ended:
			return s.failure()
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", s.URL, context.Cause(ctx))
		}
	}
}

// Stop tells the process to end and returns when it has.
func (s *Service) Stop() error {
	_ = s.process.Signal(syscall.SIGTERM) // fails only when it has ended
	select {
	case <-s.ended:
	case <-time.After(stopWait):
		_ = s.process.Kill()
		<-s.ended
		return fmt.Errorf("the service did not stop in %s", stopWait)
	}
	return s.failure()
}

// PID is the process's.
func (s *Service) PID() int { return s.process.Pid }

func (s *Service) failure() error {
	if s.err != nil {
		return fmt.Errorf("orderbox ended: %w; see %s", s.err, s.log)
	}
	return nil
}

// Get asks with the operator's token and reads the whole answer.
func Get(ctx context.Context, url string) (code int, body []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+Token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(answer.Body)
	return answer.StatusCode, body, err
}

// FreeAddress is one of this machine on which nobody listens right now.
func FreeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
