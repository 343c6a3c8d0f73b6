package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// stopEarlier stops the server that an earlier, killed run left working on data.
func stopEarlier(ctx context.Context, data string, log *slog.Logger) error {
	pidFile := filepath.Join(data, "postmaster.pid")
	content, err := os.ReadFile(pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a running PostgreSQL: %w", err)
	}
	first, _, _ := bytes.Cut(content, []byte("\n"))
	pid, err := strconv.Atoi(string(bytes.TrimSpace(first)))
	if err != nil || pid <= 1 {
		return nil // PostgreSQL knows what to make of such a file
	}

	if !isServerOn(pid, data) {
		// PostgreSQL would take any process of that number (after a reboot, or a zombie) for its
		// predecessor and refuse to start. It checks for leftover backends by other means.
		if err := os.Remove(pidFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove a stale process id: %w", err)
		}
		return nil
	}

	log.Info("stopping the postgresql of an earlier run", "pid", pid, "data", data)
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{
		{syscall.SIGINT, time.Minute}, // fast: writes everything to disk
		{syscall.SIGQUIT, 15 * time.Second},
	} {
		syscall.Kill(pid, step.signal) // fails only when it has just ended
		if gone(ctx, pid, data, step.wait) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("wait for the PostgreSQL of an earlier run to stop: %w", err)
		}
	}
	return fmt.Errorf("the PostgreSQL of an earlier run (process %d) works on %s and does not stop: end it and start again", pid, data)
}

// gone waits until the server on data is no more, for as long as wait.
func gone(ctx context.Context, pid int, data string, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for isServerOn(pid, data) {
		select {
		case <-ctx.Done():
			return false
		case <-poll.C:
		}
	}
	return true
}
