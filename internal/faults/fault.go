package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// Target is what a fault strikes.
type Target string

// The targets.
const (
	Broker   Target = "broker"
	Database Target = "database"
	Service  Target = "service"
	// Where there are both STAN and JetStream, Broker is STAN.
	Stream Target = "stream" // JetStream's nodes
	Relay  Target = "relay"  // copies from STAN into the stream
)

// Kind is what a fault does.
type Kind string

// The kinds. Kill and Pause, Cut and Wipe are what they are called; Restart stops in an orderly way.
const (
	Kill    Kind = "kill"    // SIGKILL; healed by a start on the same data
	Pause   Kind = "pause"   // every process frozen, connections open; healed by going on
	Cut     Kind = "cut"     // no packets between it and the others; the test still reaches it
	Restart Kind = "restart" // SIGTERM (for PostgreSQL SIGINT) and a start; nothing to heal
	Wipe    Kind = "wipe"    // SIGKILL, and a new container with an empty store; nothing to heal

	// Of a database with a standby, which is promoted in its place. There is nothing to heal.
	Replace Kind = "replace" // after SIGKILL
	Depose  Kind = "depose"  // cut off from the others, so that it lives on as a primary
)

// Targets and Kinds are what there is in any world.
var (
	Targets = []Target{Broker, Database, Service}
	Kinds   = []Kind{Kill, Pause, Cut, Restart, Wipe}
)

// Fault is one fault.
type Fault struct {
	Target Target
	Kind   Kind
	N      int    // which of them, from 0
	From   Target // what a Cut cuts it off from; from everything when empty
}

// String returns it as "kill the broker", whichever it is.
func (f Fault) String() string {
	if f.From != "" {
		return fmt.Sprintf("%s the %s from the %ss", f.Kind, f.Target, f.From)
	}
	return fmt.Sprintf("%s the %s", f.Kind, f.Target)
}

// ErrLoss says that a fault takes what nobody could give back: the database holds all that is precious.
var ErrLoss = errors.New("a wiped database is a loss by definition")

// Strike injects a fault and returns what heals it. Broker and database take connections again when heal
// has returned (for Restart and Wipe: when Strike has), of a cluster's brokers the one that was struck, which
// may have to catch up; a service has been started, but may not be ready.
// What a lone broker had confirmed and the services had not yet acknowledged is gone when it is wiped.
func (w *World) Strike(ctx context.Context, f Fault) (heal func(context.Context) error, err error) {
	if f.Target == Database && f.Kind == Wipe {
		return nil, ErrLoss
	}
	var targets []*server
	switch f.Target {
	case Broker:
		targets = w.broker.nodes
	case Database:
		targets = w.databases()
	case Service:
		targets = w.services
	case Stream:
		targets = w.stream.nodes
	case Relay:
		targets = w.relays
	}
	if f.N >= len(targets) {
		return nil, fmt.Errorf("there is no %s %d", f.Target, f.N)
	}
	undo, err := w.strike(ctx, targets[f.N], f)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", f, err)
	}
	return func(ctx context.Context) error {
		if err := undo(ctx); err != nil {
			return fmt.Errorf("heal after %v: %w", f, err)
		}
		return nil
	}, nil
}

func (w *World) strike(ctx context.Context, s *server, f Fault) (heal func(context.Context) error, err error) {
	id := s.container.GetContainerID()
	nothing := func(context.Context) error { return nil }
	switch f.Kind {
	case Kill:
		_, err := w.engine.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "KILL"})
		return func(ctx context.Context) error {
			if _, err := w.engine.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
				return err
			}
			return s.wait(ctx)
		}, err
	case Pause:
		return func(ctx context.Context) error {
			_, err := w.engine.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
			return err
		}, w.pause(ctx, id)
	case Cut:
		cut := s.linksTo(f.From)
		if len(cut) == 0 {
			return nil, fmt.Errorf("nothing links it to a %s", f.From)
		}
		return func(ctx context.Context) error { return w.connect(ctx, s, cut) }, w.disconnect(ctx, s, cut)
	case Replace, Depose:
		return nothing, w.failOver(ctx, s, f.Kind)
	case Restart:
		return nothing, w.restart(ctx, s)
	case Wipe:
		if err := s.remove(); err != nil {
			return nil, err
		}
		return nothing, s.create(ctx)
	}
	return nil, fmt.Errorf("there is no fault %q", f.Kind)
}

// pause freezes a container. The engine gives up, and lets everything go on, when a process does not
// freeze in time; one that waits for a busy disk takes longer.
func (w *World) pause(ctx context.Context, id string) (err error) {
	const attempts = 20
	for range attempts {
		if _, err = w.engine.ContainerPause(ctx, id, client.ContainerPauseOptions{}); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// linksTo are the links by which a server reaches those; all of them for an empty target.
func (s *server) linksTo(to Target) (links []link) {
	for _, link := range s.links {
		if to == "" || link.to == to {
			links = append(links, link)
		}
	}
	return links
}

func (w *World) disconnect(ctx context.Context, s *server, links []link) error {
	for _, link := range links {
		_, err := w.engine.NetworkDisconnect(ctx, link.ID, client.NetworkDisconnectOptions{Container: s.container.GetContainerID()})
		if err != nil {
			return err
		}
	}
	return nil
}

// connect leaves alone the links that a container made meanwhile was given with its birth.
func (w *World) connect(ctx context.Context, s *server, links []link) error {
	there, err := s.container.Networks(ctx)
	if err != nil {
		return err
	}
	for _, link := range links {
		if slices.Contains(there, link.Name) {
			continue
		}
		_, err := w.engine.NetworkConnect(ctx, link.ID, client.NetworkConnectOptions{
			Container:      s.container.GetContainerID(),
			EndpointConfig: &network.EndpointSettings{Aliases: []string{link.alias}},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	// stopTimeout is how long a server may take to stop in an orderly way: as long as compose.yaml gives it.
	stopTimeout = 30 * time.Second
	// nodeStopTimeout is for a node of a cluster: one of STAN hangs now and then as it stops, and may as well be killed,
	// for the others have what it confirmed.
	nodeStopTimeout = 10 * time.Second
)

// killed is the exit code of what did not stop by itself.
const killed = 128 + 9

func (w *World) restart(ctx context.Context, s *server) error {
	id, seconds := s.container.GetContainerID(), int(stopTimeout.Seconds())
	if s.role != nil {
		seconds = int(nodeStopTimeout.Seconds())
	}
	if _, err := w.engine.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: &seconds}); err != nil {
		return err
	}
	state, err := s.container.State(ctx)
	if err != nil {
		return err
	}
	// PostgreSQL writes everything down before it stops, and may be killed over it where the disk is busy.
	if state.ExitCode == killed && slices.Contains(w.services, s) {
		return fmt.Errorf("it had not stopped after %v", stopTimeout)
	}
	if _, err := w.engine.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		return err
	}
	return s.wait(ctx)
}
