package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"orderbox/internal/faults"
)

const (
	// replicas of the service run in the world.
	replicas = 2
	// nodes are those of a broker that is a cluster.
	nodes = 3
)

// rank says which of several a fault strikes, where that shows only when it does.
type rank string

const (
	named     rank = "" // the one that the plan names
	leading   rank = "leading"
	following rank = "following"
)

// card is a fault that may come.
type card struct {
	faults.Fault
	rank rank
}

// planned is one fault of a run.
type planned struct {
	card
	number int
	at     int64         // begins when so many messages were taken
	hold   time.Duration // lasts so long, and then is healed
	alone  bool          // begins when all before it are over; others may begin while one is not over
}

func (p planned) String() string {
	if p.Target == faults.Service || p.rank != named {
		return p.describe(fmt.Sprintf(" %d", p.N))
	}
	return p.describe("")
}

// describe says what the fault is, of the one with that number.
func (c card) describe(number string) string {
	what := fmt.Sprintf("%v %v%s", c.Kind, c.Target, number)
	if c.rank != named {
		what = fmt.Sprintf("%s, which is %s", what, c.rank)
	}
	if c.From != "" {
		what = fmt.Sprintf("%s, from every %s", what, c.From)
	}
	return what
}

// succeeds says whether another one must take the place of the one that is struck.
func (p planned) succeeds() bool {
	return p.rank == leading && (p.Kind == faults.Kill || p.Kind == faults.Pause || p.Kind == faults.Cut)
}

// lone is each kind of fault at each target that can have it, once, where there is one broker. A database that is
// wiped has lost everything, and a service has nothing to wipe.
func lone() (all []card) {
	for _, target := range []faults.Target{faults.Broker, faults.Database, faults.Service} {
		for _, kind := range []faults.Kind{faults.Kill, faults.Pause, faults.Cut, faults.Restart} {
			all = append(all, card{Fault: faults.Fault{Target: target, Kind: kind}})
		}
	}
	return append(all, card{Fault: faults.Fault{Target: faults.Broker, Kind: faults.Wipe}})
}

// clustered are the faults of a broker that is a cluster. None is wiped: one that has forgotten for whom it voted
// may help one to lead that lacks what was confirmed.
func clustered() []card {
	at := func(kind faults.Kind, from faults.Target, rank rank) card {
		return card{faults.Fault{Target: faults.Broker, Kind: kind, From: from}, rank}
	}
	return []card{
		at(faults.Kill, "", leading), at(faults.Pause, "", leading), at(faults.Cut, "", leading), at(faults.Restart, "", leading),
		// It goes on being seen by all clients.
		at(faults.Cut, faults.Broker, leading),
		at(faults.Kill, "", following), at(faults.Cut, "", following),
	}
}

// leaders are the faults of the replica that projects.
func leaders() []card {
	at := func(kind faults.Kind, from faults.Target) card {
		return card{faults.Fault{Target: faults.Service, Kind: kind, From: from}, leading}
	}
	return []card{at(faults.Kill, ""), at(faults.Pause, ""), at(faults.Cut, ""), at(faults.Cut, faults.Database)}
}

// relaying are the faults of a cut-over: of the relay, of the stream's leader, and of a service.
func relaying() []card {
	at := func(target faults.Target, kind faults.Kind, from faults.Target) card {
		return card{Fault: faults.Fault{Target: target, Kind: kind, From: from}}
	}
	return []card{
		at(faults.Relay, faults.Kill, ""), at(faults.Relay, faults.Pause, ""),
		at(faults.Relay, faults.Cut, faults.Broker), at(faults.Relay, faults.Cut, faults.Stream),
		at(faults.Service, faults.Kill, ""), at(faults.Service, faults.Cut, ""),
		{faults.Fault{Target: faults.Stream, Kind: faults.Kill}, leading},
	}
}

// plan is the faults of a run, in their order. Every card of the deck comes once before any comes twice.
func plan(deck []card, seed uint64, messages, count int) []planned {
	random := rand.New(rand.NewPCG(seed, 3))
	var left []card
	all := make([]planned, count)
	for i := range all {
		if len(left) == 0 {
			left = slices.Clone(deck)
			random.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		}
		p := planned{card: left[0], number: i + 1, alone: random.IntN(2) == 0}
		left = left[1:]
		if p.Target == faults.Service && p.rank == named {
			p.N = random.IntN(replicas)
		}
		// Long enough that some are noticed by their silence, and some are over before.
		longest := 2 * time.Second
		if p.Kind == faults.Pause || p.Kind == faults.Cut {
			longest = 8 * time.Second
		}
		p.hold = 100*time.Millisecond + time.Duration(random.Int64N(int64(longest)))
		// Of two that lead and are struck at once, neither would have a successor.
		p.alone = p.alone || p.Kind == faults.Wipe || p.rank == leading
		gap := int64(messages / (count + 1))
		p.at = gap*int64(i) + gap/2 + random.Int64N(gap)
		all[i] = p
	}
	slices.SortStableFunc(all, func(a, b planned) int { return int(a.at - b.at) })
	return all
}
