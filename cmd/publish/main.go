// Command publish puts messages on a STAN channel or into a JetStream stream: files, lines of standard input, or generated orders,
// each at least once and byte for byte.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/schollz/progressbar/v3"

	"orderbox/internal/cli"
	"orderbox/internal/natstls"
	"orderbox/internal/stream"
	"orderbox/publisher"
)

func main() {
	cli.Main(new(command), options()...)
}

func options() []kong.Option {
	return []kong.Option{
		kong.Name("publish"),
		kong.Description(`Publish messages on a NATS Streaming channel or a JetStream stream, each at least once and byte for byte.

Examples:
  publish order.json
  publish --count 10000 --rubbish 10% --rate 500
  publish --source jetstream --stream ORDERS order.json
  zcat orders.ndjson.gz | publish`),
	}
}

// command is the flags and arguments; the flags that `orderbox up` knows better come from its data.
type command struct {
	Sources []string `arg:"" optional:"" name:"source" help:"A file is one message, a directory each *.json in it by name, - one message per line of standard input. A pipe is read without being named."`

	NATSURL   string   `name:"nats-url" env:"ORDERBOX_NATS_URL" default:"nats://127.0.0.1:4222" placeholder:"URL" help:"The broker (default: ${default})."`
	Cluster   string   `name:"stan-cluster" env:"ORDERBOX_STAN_CLUSTER" default:"orderbox" placeholder:"ID" help:"Its STAN cluster (default: ${default})."`
	Brokers   []string `name:"source" env:"ORDERBOX_SOURCE" default:"stan" enum:"stan,jetstream" placeholder:"SOURCE" help:"Publish to stan or to jetstream; of both, to the first (default: ${default})."`
	Stream    string   `env:"ORDERBOX_STREAM" default:"ORDERS" placeholder:"NAME" help:"JetStream's stream (default: ${default})."`
	StreamURL string   `name:"stream-url" env:"ORDERBOX_STREAM_URL" placeholder:"URL" help:"The server with the stream, where it is another one than STAN's."`
	Channel   string   `env:"ORDERBOX_CHANNEL" default:"orders" placeholder:"NAME" help:"Where to publish (default: ${default})."`
	natstls.Files
	Data string `env:"ORDERBOX_DATA" default:".orderbox" placeholder:"DIR" help:"The data directory of a running 'orderbox up', which names the broker when nothing else does (default: ${default})."`

	Count   int     `placeholder:"N" help:"Publish N generated messages."`
	Rubbish percent `placeholder:"P%" help:"This share of them is rubbish of many kinds."`
	Seed    *uint64 `placeholder:"S" help:"The same seed, the same messages (default: a random one, which is printed)."`
	Rate    float64 `placeholder:"R" help:"At most R messages per second (default: as many as the broker takes)."`
	Quiet   bool    `short:"q" help:"Print errors and warnings only."`

	Version kong.VersionFlag `help:"Say which version this is."`
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

// AfterApply is called by kong and says what is wrong with the flags together.
func (c *command) AfterApply(s cli.Streams) error {
	switch {
	case c.Count < 0:
		return errors.New("--count cannot be negative")
	case c.Count > 0 && len(c.Sources) > 0:
		return errors.New("it is either --count or sources: publish one after the other")
	case c.Count == 0 && (c.Rubbish > 0 || c.Seed != nil):
		return errors.New("--rubbish and --seed go with --count")
	case c.Count == 0 && len(c.Sources) == 0 && !piped(s.In):
		return errors.New("there is nothing to publish: give --count, or name files")
	}
	_, err := publisher.New(c.options())
	return err
}

func (c *command) options() publisher.Options {
	o := publisher.Options{URL: c.NATSURL, Cluster: c.Cluster, Channel: c.Channel, TLS: c.Files, Rate: c.Rate}
	if len(c.Brokers) > 0 && c.Brokers[0] == "jetstream" {
		o.URL, o.Stream = cmp.Or(c.StreamURL, c.NATSURL), c.Stream
	}
	return o
}

// Run is called by kong.
func (c *command) Run(ctx context.Context, s cli.Streams) error {
	bar := c.bar(s.Err)
	log := slog.New(slog.NewTextHandler(s.Err, nil))
	options := c.options()
	options.Log = log
	options.Progress = func(r publisher.Result) { _ = bar.Set64(r.Confirmed) }
	options.Skipped = func(number int64, err error) { log.Warn("left out", "message", number, "error", err) }
	p, err := publisher.New(options)
	if err != nil {
		return err
	}
	in := &source{names: c.Sources, stdin: s.In, log: log}
	messages, about := in.messages(), ""
	if c.Count > 0 {
		messages, about = c.generated()
	}
	started := time.Now()
	result, err := p.Publish(ctx, messages)
	_ = bar.Finish()
	if advice := natstls.Advice(err); advice != "" {
		return cli.Try(err, advice)
	}
	if errors.Is(err, publisher.ErrNotTaken) {
		return cli.Try(err, "--channel with a subject of the stream, or --stream with one that takes it")
	}
	if errors.Is(err, stream.ErrNone) {
		return cli.Try(err, "orderbox up --source jetstream, or --stream-url of a server that does")
	}
	if errors.Is(err, publisher.ErrNoBroker) {
		return cli.Try(err, "orderbox up, or --nats-url and --stan-cluster of the broker that runs")
	}
	if err != nil {
		return err
	}
	if took := time.Since(started); !c.Quiet {
		fmt.Fprintf(s.Out, "published %d messages%s in %.1fs, %.0f/s\n", result.Confirmed, about, took.Seconds(),
			float64(result.Confirmed)/took.Seconds())
	}
	if result.Retried > 0 {
		log.Warn("published again: these may be on the channel twice", "messages", result.Retried)
	}
	if skipped := result.Skipped + in.skipped; skipped > 0 {
		return cli.Try(fmt.Errorf("%d messages were left out", skipped), "smaller messages, or a broker with a larger max_payload")
	}
	return nil
}

// generated returns the messages of --count, --rubbish and --seed, and what there is to say about them.
func (c *command) generated() (messages iter.Seq2[[]byte, error], about string) {
	seed := rand.Uint64()
	if c.Seed != nil {
		seed = *c.Seed
	}
	about = fmt.Sprintf(" (%d rubbish, seed %d)", publisher.Rubbish(c.Count, float64(c.Rubbish)), seed)
	return publisher.Payloads(publisher.Messages(seed, c.Count, float64(c.Rubbish))), about
}

// bar shows progress to a person; to anything but a terminal it shows nothing.
func (c *command) bar(w io.Writer) *progressbar.ProgressBar {
	visible := !c.Quiet && cli.IsTerminal(w)
	return progressbar.NewOptions(cmp.Or(c.Count, -1), // -1 is unknown
		progressbar.OptionSetWriter(w), progressbar.OptionSetVisibility(visible), progressbar.OptionClearOnFinish(),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("msg"),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0)) // else a goroutine of the library's draws, without its lock
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
