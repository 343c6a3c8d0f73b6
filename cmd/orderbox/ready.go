package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"orderbox/internal/cli"
	"orderbox/internal/retry"
	"orderbox/projector"
)

type readyCommand struct {
	dataFlags
	URL  string        `env:"ORDERBOX_URL" default:"http://127.0.0.1:8080" help:"Where the service answers. Default: ${default}." placeholder:"URL"`
	Wait time.Duration `default:"0s" help:"How long to wait for it to become ready. Default: ${default}." placeholder:"TIME"`
}

// Help is the text behind --help.
func (readyCommand) Help() string {
	return `For health checks and scripts: exits 0 when /readyz says that the service is fit to serve.

Examples:
  orderbox ready
  orderbox ready --wait 30s --url http://127.0.0.1:8081`
}

const readyPoll = 200 * time.Millisecond

// Run asks until the service is ready or the wait is over, at least once.
func (c *readyCommand) Run(ctx context.Context, s cli.Streams) error {
	err := waitReady(ctx, s, c.URL, c.Wait)
	if distrusts(err) != nil {
		return distrusts(err)
	}
	if err != nil {
		return cli.Try(err, "orderbox ready --wait 30s, or look at "+c.URL+"/readyz")
	}
	fmt.Fprintln(s.Out, "ready")
	return nil
}

// waitReady shows a person how far the service is with reading the orders.
func waitReady(ctx context.Context, s cli.Streams, url string, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	var reading *bar
	for {
		err := askReady(ctx, url)
		if said, ok := errors.AsType[notReady](err); ok && cli.IsTerminal(s.Err) {
			reading = said.show(s, reading)
		}
		if err == nil || time.Now().After(deadline) {
			if reading != nil {
				reading.finish(0)
			}
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
		return notReady{said}
	}
	return nil
}

// notReady is what a service says that is not fit to serve.
type notReady struct{ said []byte }

func (n notReady) Error() string { return fmt.Sprintf("the service is not ready: %s", n.said) }

// show shows how far the cache is in a bar, which is a new one for nil, if it says so.
func (n notReady) show(s cli.Streams, reading *bar) *bar {
	var readiness struct {
		Checks struct {
			Cache struct{ Position, Lag int64 }
		}
	}
	if err := json.Unmarshal(n.said, &readiness); err != nil || readiness.Checks.Cache.Lag == 0 {
		return reading
	}
	if reading == nil {
		reading = newBar(s, "reading orders")
	}
	cache := readiness.Checks.Cache
	reading.show(projector.Progress{Position: cache.Position, Head: cache.Position + cache.Lag})
	return reading
}
