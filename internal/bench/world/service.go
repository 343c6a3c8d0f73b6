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
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Token opens the operator's paths of every Service.
const Token = "bench-operator-token"

const readyWait = 5 * time.Minute

// Service is a process of the program. Stop ends it.
type Service struct {
	// URL is where it answers: lookups, if query is among its stages, and what it measures in any case.
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
	s, err := w.start(w.program, append([]string{"serve", "--stages", stages, "--listen", address, "--drain", "0s", "--log-level", "warn"}, flags...))
	if err == nil {
		s.URL = "http://" + address
	}
	return s, err
}

// Run runs a command of the program to its end.
func (w *World) Run(ctx context.Context, arguments ...string) error {
	return w.RunOther(ctx, w.program, arguments...)
}

// RunOther runs another program of the repository to its end, which finds the broker and the database in its environment.
func (w *World) RunOther(ctx context.Context, program string, arguments ...string) error {
	s, err := w.start(program, arguments)
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

// start starts a program. It ends with this one, however that ends.
func (w *World) start(program string, arguments []string) (*Service, error) {
	log, err := os.OpenFile(filepath.Join(w.dir, "orderbox.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	s := &Service{log: log.Name(), ended: make(chan struct{})}
	cmd := exec.Command(program, arguments...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "ORDERBOX_DATABASE_URL="+w.DatabaseURL, "ORDERBOX_NATS_URL="+w.stan.URL(),
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
	return s.await(ctx, func() bool {
		code, _, err := Get(ctx, s.URL+"/readyz")
		return err == nil && code == http.StatusOK
	})
}

// await asks until something is so, for as long as the process lives.
func (s *Service) await(ctx context.Context, is func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	for {
		if is() {
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

// Metric asks for one of its metrics, the sum of it over all labels; 0 when it has none by that name.
func (s *Service) Metric(ctx context.Context, name string) (sum float64, err error) {
	_, text, err := Get(ctx, s.URL+"/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		named, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if series, _, _ := strings.Cut(named, "{"); series != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s of %s: %w", name, s.URL, err)
		}
		sum += v
	}
	return sum, nil
}

// AwaitMetric waits until one of its metrics is at least so much.
func (s *Service) AwaitMetric(ctx context.Context, name string, least float64) error {
	return s.await(ctx, func() bool {
		v, err := s.Metric(ctx, name)
		return err == nil && v >= least
	})
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

// OrderPath is where an order is looked up, with its id behind it.
const OrderPath = "/api/v1/orders/"

// AwaitOrder looks for an order every so often until the service has it, or ctx ends.
func (s *Service) AwaitOrder(ctx context.Context, uid string, every time.Duration) error {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		code, body, err := Get(ctx, s.URL+OrderPath+uid)
		switch {
		case err != nil:
			return err
		case code == http.StatusOK:
			return nil
		case code != http.StatusNotFound:
			return fmt.Errorf("asked for an order: %d %s", code, body)
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
