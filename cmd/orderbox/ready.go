package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"orderbox/internal/cli"
	"orderbox/internal/retry"
)

type readyCommand struct {
	dataFlags
	URL  string        `env:"ORDERBOX_URL" default:"http://127.0.0.1:8080" help:"Where the service answers. Default: ${default}." placeholder:"URL"`
	Wait time.Duration `default:"0s" help:"How long to wait for it to become ready. Default: ${default}." placeholder:"TIME"`
}

// Help is the text behind --help.
func (readyCommand) Help() string {
	return `For health checks and scripts: exits 0 when /readyz says that the service is fit to serve.`
}

const readyPoll = 200 * time.Millisecond

// Run asks until the service is ready or the wait is over, at least once.
func (c *readyCommand) Run(ctx context.Context, s cli.Streams) error {
	err := waitReady(ctx, c.URL, c.Wait)
	if distrusts(err) != nil {
		return distrusts(err)
	}
	if err != nil {
		return cli.Try(err, "orderbox ready --wait 30s, or look at "+c.URL+"/readyz")
	}
	fmt.Fprintln(s.Out, "ready")
	return nil
}

func waitReady(ctx context.Context, url string, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for {
		err := askReady(ctx, url)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		if err := retry.Wait(ctx, readyPoll); err != nil {
			return err
		}
	}
}

func askReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if distrusts(err) != nil {
		return err
	}
	if err != nil {
		return errors.New("no service answers at " + url)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return fmt.Errorf("the service is not ready: %s", said)
	}
	return nil
}
