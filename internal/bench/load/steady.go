package load

import (
	"math/rand/v2"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// Steady asks for random ones of some ids, so many a second however long the answers take, and returns when the last of
// them came. base is what stands before an id in an address; options are vegeta's.
func Steady(base string, ids []string, perSecond int, duration time.Duration, options ...func(*vegeta.Attacker)) (m vegeta.Metrics) {
	target := func(t *vegeta.Target) error {
		*t = vegeta.Target{Method: "GET", URL: base + ids[rand.IntN(len(ids))]}
		return nil
	}
	pace := vegeta.ConstantPacer{Freq: perSecond, Per: time.Second}
	for answer := range vegeta.NewAttacker(options...).Attack(target, pace, duration, "") {
		m.Add(answer)
	}
	m.Close()
	return m
}
