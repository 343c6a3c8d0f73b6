// Package stream is what ingest, the publisher and the cut-over have in common about the two brokers: how to get to STAN or to a
// stream of JetStream's, what is there, and how messages are identified.
//
// In: a NATS server with STAN or JetStream. Out: a connection, the stream, names.
//
// Laws kept here: the identity of a message is (stream, its creation, sequence), so a stream that was deleted and made
// again brings new messages; and a copy of a STAN message is told by what it was there (Origin).
//
// Concurrency: none; all is called as one likes.
//
// Not here: receiving (package ingest) and publishing (package publisher).
package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"orderbox/internal/natstls"
)

const (
	// A server that has answered none of three pings a second apart is taken for lost.
	pingEvery   = time.Second
	pingsOut    = 3
	connectWait = 3 * time.Second
	// flushWait bounds how long a write can hang on a socket that is stuck.
	flushWait = 5 * time.Second

	// remembered is for how long a stream knows the ids of messages, so that one that is published again is not stored
	// again.
	remembered = 10 * time.Minute
	// replicas survive the loss of any one of them.
	replicas = 3
)

// Options says where a stream is. All but TLS are needed.
type Options struct {
	URL     string // of a NATS server, or several with commas
	Name    string // of the stream
	Subject string // what it takes messages from
	Client  string // how the server's monitoring shows this connection
	TLS     natstls.Files
}

// Check says what is wrong with the options, all at once; nil when nothing is.
func (o Options) Check() error {
	var problems []error
	if o.Name == "" || strings.ContainsAny(o.Name, ". */>\\\t\r\n") {
		problems = append(problems, fmt.Errorf("stream %q: a name is one word without . * / \\ and >", o.Name))
	}
	return errors.Join(append(problems, CheckSubject(o.Subject))...)
}

// CheckSubject keeps to what both STAN and NATS take for the name of a channel.
func CheckSubject(subject string) error {
	if strings.ContainsAny(subject, "/*> \t\r\n") || slices.Contains(strings.Split(subject, "."), "") {
		return fmt.Errorf("channel %q: it takes words with dots between them, without / * > and space", subject)
	}
	return nil
}

// Connect connects to one of the servers. Once that connection is lost, which is noticed after about 4 s of silence, lost
// is called, once, from a goroutine of its own, with the reason; it is not made again by itself.
func Connect(o Options, lost func(error), more ...jetstream.JetStreamOpt) (*nats.Conn, jetstream.JetStream, error) {
	options := append(o.TLS.Options(),
		nats.Timeout(connectWait), nats.Name(o.Client), nats.FlusherTimeout(flushWait), nats.NoReconnect(),
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(pingsOut),
		nats.ClosedHandler(func(nc *nats.Conn) { lost(cmp.Or(nc.LastError(), nats.ErrConnectionClosed)) }))
	nc, err := nats.Connect(o.URL, options...)
	if advice := natstls.Advice(err); advice != "" {
		err = fmt.Errorf("%w; try: %s", err, advice)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("connect to NATS: %w", err)
	}
	js, err := jetstream.New(nc, more...)
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("connect to JetStream: %w", err)
	}
	return nc, js, nil
}

// ErrNone says that a server, or for a moment its cluster, does not offer JetStream.
var ErrNone = errors.New("the NATS server offers no JetStream")

// Open returns the stream; one that is not there is made, with three replicas where servers are in a cluster. One that is
// there stays as it is: how many replicas it has and what it drops is its owner's to say.
//
// That what is confirmed is on disk is a setting of the server, sync_interval: always. By default it syncs every two minutes.
func Open(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, o Options) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, o.Name)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, ErrNone
	}
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		if err != nil {
			err = fmt.Errorf("look for the stream %s: %w", o.Name, err)
		}
		return s, err
	}
	config := jetstream.StreamConfig{
		Name: o.Name, Subjects: []string{o.Subject}, Storage: jetstream.FileStorage, Replicas: 1,
		Duplicates: remembered,
	}
	if nc.ConnectedClusterName() != "" {
		config.Replicas = replicas
	}
	s, err = js.CreateStream(ctx, config)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // somebody else was faster
		s, err = js.Stream(ctx, o.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("make the stream %s with %d replicas: %w", o.Name, config.Replicas, err)
	}
	return s, nil
}

// Channel is what the log calls a stream: its name and when it was made, so that another one by the same name, which counts
// from 1 again, is another channel.
func Channel(name string, created time.Time) string {
	return name + "@" + created.UTC().Format(time.RFC3339Nano)
}
