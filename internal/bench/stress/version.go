package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"orderbox/internal/bench/world"
	"orderbox/internal/cli"
	"orderbox/internal/envfile"
	"orderbox/publisher"
)

const (
	lookupPath = "/api/v1/orders/"
	patience   = 2 * time.Minute // with a service that starts, stops or catches up
)

// version is a running `orderbox up` of one commit.
type version struct {
	name, url string
	process   *os.Process
	ended     chan error
	broker    publisher.Options
}

// build compiles the service into dir, which is made: of this tree as it is, or of a commit.
func build(ctx context.Context, dir, commit string) (program string, err error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", err
	}
	top, err := exec.CommandContext(ctx, "git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return "", cli.Try(fmt.Errorf("find the checkout: %w", err), "run it in a clone of the repository")
	}
	source := strings.TrimSpace(string(top))
	if commit != "" {
		checkout := filepath.Join(dir, "source")
		if out, err := exec.CommandContext(ctx, "git", "worktree", "add", "--detach", checkout, commit).CombinedOutput(); err != nil {
			return "", fmt.Errorf("check out %s: %w: %s", commit, err, out)
		}
		defer func() {
			err = errors.Join(err, exec.Command("git", "worktree", "remove", "--force", checkout).Run())
		}()
		source = checkout
	}
	program = filepath.Join(dir, "orderbox")
	if out, err := exec.CommandContext(ctx, "go", "build", "-C", source, "-o", program, "./cmd/orderbox").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build orderbox in %s: %w: %s", source, err, out)
	}
	return program, nil
}

// start runs a program until stop, with its state in dir, and returns when it is ready.
func start(ctx context.Context, name, dir, program string) (*version, error) {
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	data := filepath.Join(dir, "data")
	cmd := exec.Command(program, "up", "--empty", "--data", data, "--listen", "127.0.0.1:0", "--log-level", "warn")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C at the terminal is for us, who then stop it
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	v := &version{name: name, process: cmd.Process, ended: make(chan error, 1)}
	go func() { v.ended <- cmd.Wait() }()
	if err := v.ready(ctx, filepath.Join(data, "env")); err != nil {
		said, _ := os.ReadFile(log.Name())
		return nil, errors.Join(fmt.Errorf("start %s: %w: %s", name, err, said), v.stop())
	}
	return v, nil
}

// ready waits until the service says that it is, and for the file in which it says where.
func (v *version) ready(ctx context.Context, file string) error {
	return v.await(ctx, "the service", func() (bool, error) {
		env, err := envfile.Read(file)
		if v.url = env["ORDERBOX_URL"]; v.url == "" || err != nil {
			return false, err
		}
		v.broker = publisher.Options{URL: env["ORDERBOX_NATS_URL"], Cluster: env["ORDERBOX_STAN_CLUSTER"], Channel: env["ORDERBOX_CHANNEL"]}
		return v.answers(ctx, "/readyz"), nil
	})
}

// answers says whether the answer for a path is 200.
func (v *version) answers(ctx context.Context, path string) bool {
	code, _, err := world.Get(ctx, v.url+path)
	return err == nil && code == http.StatusOK
}

// visible waits until an order can be looked up.
func (v *version) visible(ctx context.Context, uid string) error {
	return v.await(ctx, "an order", func() (bool, error) { return v.answers(ctx, lookupPath+uid), nil })
}

// await asks until something is so.
func (v *version) await(ctx context.Context, what string, is func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	for {
		if so, err := is(); so || err != nil {
			return err
		}
		select {
		case <-ticks.C:
		case err := <-v.ended:
			v.ended <- err
			return fmt.Errorf("the service ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		}
	}
}

// publish publishes at a rate, 0 for as fast as it goes, and returns when the broker has all.
func (v *version) publish(ctx context.Context, payloads [][]byte, rate float64) error {
	o := v.broker
	o.Rate = rate
	p, err := publisher.New(o)
	if err != nil {
		return err
	}
	_, err = p.Publish(ctx, func(yield func([]byte, error) bool) {
		for payload := range slices.Values(payloads) {
			if !yield(payload, nil) {
				return
			}
		}
	})
	return err
}

// fill publishes orders and returns when the last, which has this uid, can be looked up.
func (v *version) fill(ctx context.Context, payloads [][]byte, last string) error {
	if err := v.publish(ctx, payloads, 0); err != nil {
		return err
	}
	return v.visible(ctx, last)
}

func (v *version) stop() error {
	_ = v.process.Signal(syscall.SIGTERM) // fails only when it has ended
	select {
	case err := <-v.ended:
		return err
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("%s did not stop", v.name), v.process.Kill())
	}
}
