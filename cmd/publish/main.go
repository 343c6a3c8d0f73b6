// Command publish puts messages on a STAN channel: files, lines of standard input, or generated orders.
//
// In: arguments, environment, the file env that `orderbox up` wrote. Out: published messages, and a
// line that says how many. Exit codes: 0 done, 1 failed, 2 wrong usage.
//
// Laws kept here: none; how messages are published is package publisher's.
//
// Concurrency: none of its own.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"orderbox/internal/envfile"
	"orderbox/publisher"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from now on a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// The defaults of the first three stand here and not in the tags, for the file env comes before them.
const (
	defaultURL     = "nats://127.0.0.1:4222"
	defaultCluster = "orderbox"
	defaultChannel = "orders"
)

type cli struct {
	Sources []string `arg:"" optional:"" name:"source" help:"FILE: one message. DIR: each *.json in it, by name. -: one message per line of standard input, which is also read when it is a pipe and nothing else is given. All are published byte for byte."`

	NATSURL string `name:"nats-url" env:"ORDERBOX_NATS_URL" placeholder:"URL" help:"The broker (default: DATA/env, else ${default_url})."`
	Cluster string `env:"ORDERBOX_STAN_CLUSTER" placeholder:"ID" help:"Its STAN cluster (default: DATA/env, else ${default_cluster})."`
	Channel string `env:"ORDERBOX_CHANNEL" placeholder:"NAME" help:"Where to publish (default: DATA/env, else ${default_channel})."`
	Data    string `env:"ORDERBOX_DATA" default:".orderbox" placeholder:"DIR" help:"The data directory of a running 'orderbox up' (default: ${default})."`

	Count   int     `placeholder:"N" help:"Publish N generated messages."`
	Rubbish percent `placeholder:"P%" help:"So much of them is rubbish of many kinds (default: 0%)."`
	Seed    *uint64 `placeholder:"S" help:"What decides the generated messages: the same seed, the same bytes (default: a random one, which is printed)."`
	Rate    float64 `placeholder:"R" help:"At most R messages per second (default: as fast as the broker takes them)."`
	Quiet   bool    `short:"q" help:"Print errors only."`
}

// percent is a share of 0 to 1, given as 10% or as 0.1.
type percent float64

// UnmarshalText reads a flag's value.
func (p *percent) UnmarshalText(text []byte) error {
	digits, isPercent := strings.CutSuffix(string(text), "%")
	share, err := strconv.ParseFloat(digits, 64)
	if isPercent {
		share /= 100
	}
	if err != nil || !(share >= 0 && share <= 1) {
		return fmt.Errorf("%q is no share: it is given as 10%% or as 0.1", text)
	}
	*p = percent(share)
	return nil
}

// usageError is the caller's mistake: exit code 2.
type usageError struct{ error }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	err := parseAndPublish(ctx, args, stdin, stdout, stderr)
	if err == nil {
		return 0
	}
	hint := ""
	if errors.Is(err, publisher.ErrNoBroker) {
		hint = " — try: orderbox up, or --nats-url and --cluster of the broker that runs"
	}
	fmt.Fprintf(stderr, "publish: %s%s\n", strings.ReplaceAll(err.Error(), "\n", "; "), hint)
	if _, wrong := errors.AsType[usageError](err); wrong {
		return 2
	}
	return 1
}

func parseAndPublish(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var c cli
	helped := false
	parser, err := kong.New(&c, kong.Name("publish"),
		kong.Description("Publish messages on a NATS Streaming channel, each at least once."),
		kong.Vars{"default_url": defaultURL, "default_cluster": defaultCluster, "default_channel": defaultChannel},
		kong.Writers(stdout, stderr), kong.Exit(func(int) { helped = true }))
	if err != nil {
		return err
	}
	_, err = parser.Parse(args)
	switch {
	case helped:
		return nil
	case err != nil:
		return usageError{fmt.Errorf("%w — try: publish --help", err)}
	case c.Count < 0:
		return usageError{errors.New("--count cannot be negative — try: --count 100")}
	case c.Count > 0 && len(c.Sources) > 0:
		return usageError{errors.New("it is either --count or sources — try: one after the other")}
	case c.Count == 0 && (c.Rubbish > 0 || c.Seed != nil):
		return usageError{errors.New("--rubbish and --seed are about generated messages — try: with --count")}
	case c.Count == 0 && len(c.Sources) == 0 && !piped(stdin):
		return usageError{errors.New("there is nothing to publish — try: publish --count 100, or name files")}
	}
	return c.publish(ctx, stdin, stdout, stderr)
}

func (c *cli) publish(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) error {
	file, err := envfile.Read(filepath.Join(c.Data, "env"))
	if err != nil {
		return err
	}
	bar := progressbar.DefaultSilent(-1)
	if !c.Quiet && isTerminal(stderr) {
		bar = progressbar.NewOptions(cmp.Or(c.Count, -1), progressbar.OptionSetWriter(stderr), progressbar.OptionShowCount(),
			progressbar.OptionShowIts(), progressbar.OptionSetItsString("msg"), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish())
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	p, err := publisher.New(publisher.Options{
		URL:      cmp.Or(c.NATSURL, file["ORDERBOX_NATS_URL"], defaultURL),
		Cluster:  cmp.Or(c.Cluster, file["ORDERBOX_STAN_CLUSTER"], defaultCluster),
		Channel:  cmp.Or(c.Channel, file["ORDERBOX_CHANNEL"], defaultChannel),
		Rate:     c.Rate,
		Progress: func(r publisher.Result) { _ = bar.Set64(r.Confirmed) },
		Skipped:  func(number int64, err error) { log.Warn("left out", "message", number, "error", err) },
		Log:      log,
	})
	if err != nil {
		return usageError{fmt.Errorf("%w — try: publish --help", err)}
	}

	source := &source{names: c.Sources, stdin: stdin, log: log}
	messages, about := source.messages(), ""
	if c.Count > 0 {
		if c.Seed == nil {
			c.Seed = new(rand.Uint64())
		}
		messages = generated(*c.Seed, c.Count, float64(c.Rubbish))
		about = fmt.Sprintf(" (%d rubbish, seed %d)", publisher.Rubbish(c.Count, float64(c.Rubbish)), *c.Seed)
	}
	started := time.Now()
	result, err := p.Publish(ctx, messages)
	_ = bar.Finish()
	if err != nil {
		return err
	}
	if took := time.Since(started); !c.Quiet {
		fmt.Fprintf(stdout, "published %d messages%s in %.1fs, %.0f/s\n", result.Confirmed, about, took.Seconds(),
			float64(result.Confirmed)/took.Seconds())
		if result.Retried > 0 {
			fmt.Fprintf(stdout, "%d were published again, and may be on the channel twice\n", result.Retried)
		}
	}
	if skipped := result.Skipped + source.skipped; skipped > 0 {
		return fmt.Errorf("%d messages were left out", skipped)
	}
	return nil
}

// piped says whether there is something to read that nobody types: a pipe or a file.
func piped(stdin io.Reader) bool {
	file, ok := stdin.(*os.File)
	if !ok {
		return stdin != nil
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice == 0
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
