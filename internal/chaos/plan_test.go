package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"orderbox/internal/faults"
)

// replicas of the service run in the world.
const replicas = 2

// planned is one fault of a run.
type planned struct {
	faults.Fault
	number int
	at     int64         // begins when so many messages were taken
	hold   time.Duration // lasts so long, and then is healed
	alone  bool          // begins when all before it are over; others may begin while one is not over
}

func (p planned) String() string {
	what := fmt.Sprintf("%v %v", p.Kind, p.Target)
	if p.Target == faults.Service {
		what = fmt.Sprintf("%s %d", what, p.N)
	}
	return what
}

// deck is each kind of fault at each target that can have it, once. A database that is wiped has lost
// everything, and a service has nothing to wipe.
func deck() []faults.Fault {
	var all []faults.Fault
	for _, target := range []faults.Target{faults.Broker, faults.Database, faults.Service} {
		for _, kind := range []faults.Kind{faults.Kill, faults.Pause, faults.Cut, faults.Restart} {
			all = append(all, faults.Fault{Target: target, Kind: kind})
		}
	}
	return append(all, faults.Fault{Target: faults.Broker, Kind: faults.Wipe})
}

// plan is the faults of a run, in their order. Every kind comes once before any comes twice.
func plan(seed uint64, messages, count int) []planned {
	random := rand.New(rand.NewPCG(seed, 3))
	var left []faults.Fault
	all := make([]planned, count)
	for i := range all {
		if len(left) == 0 {
			left = deck()
			random.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		}
		p := planned{Fault: left[0], number: i + 1, alone: random.IntN(2) == 0}
		left = left[1:]
		if p.Target == faults.Service {
			p.N = random.IntN(replicas)
		}
		// Long enough that some are noticed by their silence, and some are over before.
		longest := 2 * time.Second
		if p.Kind == faults.Pause || p.Kind == faults.Cut {
			longest = 8 * time.Second
		}
		p.hold = 100*time.Millisecond + time.Duration(random.Int64N(int64(longest)))
		p.alone = p.alone || p.Kind == faults.Wipe
		gap := int64(messages / (count + 1))
		p.at = gap*int64(i) + gap/2 + random.Int64N(gap)
		all[i] = p
	}
	slices.SortStableFunc(all, func(a, b planned) int { return int(a.at - b.at) })
	return all
}
