package main

import (
	"cmp"
	"errors"
	"log/slog"
	"os"
	"regexp"

	"orderbox/inbox"
	"orderbox/internal/cli"
	"orderbox/internal/natstls"
)

// The groups of flags that several commands share.

type dataFlags struct {
	Data string `default:".orderbox" env:"ORDERBOX_DATA" help:"Directory of 'orderbox up'. Its file env names the broker and the database where nothing else does. Default: ${default}." placeholder:"DIR"`
}

type databaseFlags struct {
	DatabaseURL string `name:"database-url" env:"ORDERBOX_DATABASE_URL" help:"PostgreSQL, as the role orderbox: postgres://orderbox:PASSWORD@HOST:5432/DATABASE." placeholder:"URL"`
}

var errNoDatabase = cli.Try(errors.New("no database is named"), "set ORDERBOX_DATABASE_URL, or start one with: orderbox up")

func (f databaseFlags) check() error {
	if f.DatabaseURL == "" {
		return errNoDatabase
	}
	return nil
}

type adminFlags struct {
	AdminURL string `name:"admin-url" env:"ORDERBOX_ADMIN_URL" help:"Any database of the same server, as a role that may create roles and databases." placeholder:"URL"`
}

func (f adminFlags) check() error {
	if f.AdminURL == "" {
		return cli.Try(errors.New("no administrator's URL is given"), "set ORDERBOX_ADMIN_URL")
	}
	return nil
}

type streamFlags struct {
	Stream string `env:"ORDERBOX_STREAM" default:"ORDERS" help:"Stream of JetStream. It is made where there is none, with the channel as its subject. Default: ${default}." placeholder:"NAME"`
}

type sourceFlags struct {
	Sources []string `name:"source" env:"ORDERBOX_SOURCE" default:"stan" enum:"stan,jetstream" help:"Where messages come from: stan, jetstream, or both while producers move. Default: ${default}." placeholder:"SOURCE"`
	streamFlags
}

// stream is the stream to receive from when the source is one, and empty otherwise.
func (f sourceFlags) stream(source string) string {
	if source == inbox.SourceJetStream {
		return f.Stream
	}
	return ""
}

// channelFlags name a channel of a broker's, or one of each of two.
type channelFlags struct {
	sourceFlags
	addressFlags
}

type addressFlags struct {
	NATSURL   string `name:"nats-url" env:"ORDERBOX_NATS_URL" default:"nats://127.0.0.1:4222" help:"NATS server, or several with commas. Default: ${default}." placeholder:"URL"`
	StreamURL string `name:"stream-url" env:"ORDERBOX_STREAM_URL" help:"NATS server with the stream, or several with commas, where it is another one than STAN's." placeholder:"URL"`
	Cluster   string `name:"stan-cluster" env:"ORDERBOX_STAN_CLUSTER" default:"orderbox" help:"Cluster id of NATS Streaming. Default: ${default}." placeholder:"ID"`
	Channel   string `env:"ORDERBOX_CHANNEL" default:"orders" help:"Channel the orders arrive on. Default: ${default}." placeholder:"NAME"`
	natstls.Files
}

// brokerFlags are for who receives.
type brokerFlags struct {
	channelFlags
	clientFlags
}

type clientFlags struct {
	ClientID string `name:"client-id" env:"ORDERBOX_CLIENT_ID" help:"Tells this replica from others; must stay the same when it is started again. Default: orderbox-HOSTNAME." placeholder:"ID"`
}

// url is where a source is.
func (f addressFlags) url(source string) string {
	if source == inbox.SourceJetStream {
		return cmp.Or(f.StreamURL, f.NATSURL)
	}
	return f.NATSURL
}

var notInClientID = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// clientID is the replica's name with the broker, which allows letters, digits, - and _ only.
func (f clientFlags) clientID() (string, error) {
	if f.ClientID != "" {
		return f.ClientID, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", cli.Try(err, "give this replica a name with --client-id")
	}
	return "orderbox-" + notInClientID.ReplaceAllString(host, "-"), nil
}

type schemaFlags struct {
	Schema string `env:"ORDERBOX_SCHEMA" type:"existingfile" help:"JSON Schema to judge by, instead of the built-in one." placeholder:"FILE"`
}

// source is the schema; nil for the built-in one.
func (f schemaFlags) source() ([]byte, error) {
	if f.Schema == "" {
		return nil, nil
	}
	return os.ReadFile(f.Schema)
}

type webFlags struct {
	MaxConnections     int    `name:"max-connections" env:"ORDERBOX_MAX_CONNECTIONS" default:"16384" help:"HTTP connections at a time, idle ones included; others wait. Each takes some 20 KiB of memory. Default: ${default}." placeholder:"N"`
	OperatorToken      string `name:"operator-token" env:"ORDERBOX_OPERATOR_TOKEN" help:"What operators prove themselves with: a secret of 16 characters or more, whose decisions are those of 'operator', or NAME:SECRET,NAME:SECRET. Without one their paths are off; 'up' makes one." placeholder:"TOKEN"`
	OperatorTokensFile string `name:"operator-tokens-file" env:"ORDERBOX_OPERATOR_TOKENS_FILE" help:"File with more of them, lines of NAME:SECRET, which nobody but its owner may write." placeholder:"FILE"`
}

type logFlags struct {
	LogLevel  slog.Level `name:"log-level" env:"ORDERBOX_LOG_LEVEL" default:"info" help:"debug, info, warn or error. Default: ${default}." placeholder:"LEVEL"`
	LogFormat string     `name:"log-format" env:"ORDERBOX_LOG_FORMAT" default:"text" enum:"text,json" help:"text or json. Default: ${default}." placeholder:"FORMAT"`
}

// logger writes to standard error. No message of any package carries an order's data.
func (f logFlags) logger(s cli.Streams) *slog.Logger {
	o := &slog.HandlerOptions{Level: f.LogLevel}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(escaped{s.Err}, o))
	}
	return slog.New(slog.NewTextHandler(s.Err, o))
}
