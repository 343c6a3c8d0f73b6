package local

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"
	stand "github.com/nats-io/nats-streaming-server/server"
	"github.com/nats-io/nats-streaming-server/stores"
)

// STANOptions says where a STAN server keeps its state and who may find it.
type STANOptions struct {
	// Dir holds the messages and the subscriptions' positions, made when missing; empty keeps both in
	// memory: for tests only.
	Dir string
	// Port is the TCP port on 127.0.0.1; 0 takes a free one.
	Port int
	// ClusterID is the name that clients must know. A store belongs to the one it was made with.
	ClusterID string
	// MaxMessages is how many messages of a channel are kept, the oldest are dropped beyond; 0 keeps all. Tests set it.
	MaxMessages int
	// JetStream is the directory of streams, and has the server offer JetStream as well. It must not be within Dir, where
	// each directory is a channel.
	JetStream string
	// Log receives the server's own lines: errors and warnings as such, everything else as debug. Nil
	// discards.
	Log *slog.Logger
}

// STAN is a NATS Streaming server inside this process. Its methods may be called concurrently.
//
// What it cannot survive is its disk: when it can no longer write a message (disk full) it panics, and
// the process with it. Nothing that was confirmed is lost by that.
type STAN struct {
	server *stand.StanServer
	url    string
}

// StartSTAN starts a server on the state in o.Dir and returns when clients may connect. Every message
// that it confirms is on disk (synced), and so is found again after a crash at any time.
func StartSTAN(o STANOptions) (*STAN, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ClusterID == "" {
		return nil, errors.New("start the STAN server: ClusterID is empty")
	}
	port, err := choosePort(o.Port)
	if err != nil {
		return nil, fmt.Errorf("start the STAN server: %w", err)
	}
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the STAN server's directory: %w", err)
		}
		if err := cutTornTails(o.Dir); err != nil {
			return nil, fmt.Errorf("repair the STAN server's files: %w", err)
		}
	}
	if o.Port == 0 {
		port = natsd.RANDOM_PORT // bound by the server itself, so that nobody takes it in between
	}
	server, err := stand.RunServerWithOpts(stanServerOptions(o), natsServerOptions(o, port))
	if err != nil {
		return nil, fmt.Errorf("start the STAN server: %w", err)
	}
	s := &STAN{server: server, url: server.ClientURL()}
	o.Log.Info("stan server started", "url", s.url, "dir", o.Dir)
	return s, nil
}

// URL is what clients connect to.
func (s *STAN) URL() string { return s.url }

// Stop ends the server and returns when it is down. Clients see the connection end.
func (s *STAN) Stop() { s.server.Shutdown() }

func natsServerOptions(o STANOptions, port int) *natsd.Options {
	options := &natsd.Options{Host: "127.0.0.1", Port: port, NoSigs: true}
	if o.JetStream != "" {
		options.JetStream, options.StoreDir = true, o.JetStream
		// By default it confirms what it syncs within two minutes.
		options.SyncAlways = true
	}
	return options
}

func stanServerOptions(o STANOptions) *stand.Options {
	options := stand.GetDefaultOptions()
	options.ID = o.ClusterID
	options.CustomLogger = stanLog{o.Log}
	options.HandleSignals = false // this process has an order of its own in which it stops things

	// 0 is no limit. The defaults drop the oldest messages of a channel beyond a million or 1 GB, read
	// or not.
	options.StoreLimits = stores.StoreLimits{}
	options.StoreLimits.MaxMsgs = o.MaxMessages

	// A client that died without a word keeps its durable subscription, and the messages sent to it,
	// until the server notices: by default after 5 minutes, in which its successor gets nothing. Here
	// a dead one is noticed after 3 beats, 9 s; one that hangs after at most 15 s. The client library
	// answers by itself, so a handler that is busy for longer is no dead client.
	options.ClientHBInterval = 3 * time.Second
	options.ClientHBTimeout = 2 * time.Second
	options.ClientHBFailCount = 2

	if o.Dir == "" {
		options.StoreType = stores.TypeMemory
		return options
	}
	options.StoreType = stores.TypeFile
	options.FilestoreDir = o.Dir
	// The server confirms a batch of messages after it has flushed the store, and a flush syncs.
	options.FileStoreOpts.DoSync = true
	options.FileStoreOpts.DoCRC = true
	// Subscribers' acknowledgements are flushed with the next published message only. This bounds how
	// many messages come again when the server dies on an idle channel. It costs nothing when idle.
	options.FileStoreOpts.AutoSync = time.Second
	// Off: the server refuses to start twice in a row with it, and it cuts the wrong file when the first
	// write to a new one is torn. cutTornTails has done its work.
	options.FileStoreOpts.TruncateUnexpectedEOF = false
	return options
}

// stanLog is the server's logger.
type stanLog struct {
	log *slog.Logger
}

func (l stanLog) Noticef(format string, args ...any) {
	l.log.Debug("stan", "line", fmt.Sprintf(format, args...))
}
func (l stanLog) Debugf(format string, args ...any) {
	l.log.Debug("stan", "line", fmt.Sprintf(format, args...))
}
func (l stanLog) Tracef(format string, args ...any) {
	l.log.Debug("stan", "line", fmt.Sprintf(format, args...))
}
func (l stanLog) Warnf(format string, args ...any) {
	l.log.Warn("stan", "line", fmt.Sprintf(format, args...))
}
func (l stanLog) Errorf(format string, args ...any) {
	l.log.Error("stan", "line", fmt.Sprintf(format, args...))
}

// Fatalf logs and goes on: whether this process ends is not the server's to decide.
func (l stanLog) Fatalf(format string, args ...any) {
	l.log.Error("stan", "line", fmt.Sprintf(format, args...))
}
