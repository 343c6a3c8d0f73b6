package query

import (
	"hash/maphash"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxGuesses is how many wrong secrets an address may try at once; after that it has one more each guessPause.
	maxGuesses = 10
	guessPause = 6 * time.Second
	// guessSlots bounds the memory. Addresses that share one share its guesses.
	guessSlots = 1024
)

// guesses counts wrong secrets by the address that they came from, so that a short one cannot be found by trying. Right ones
// do not count, and nothing is remembered of either.
type guesses struct {
	seed  maphash.Seed
	mu    sync.Mutex
	slots [guessSlots]*rate.Limiter
}

func newGuesses() *guesses {
	g := &guesses{seed: maphash.MakeSeed()} // not to be known, so that nobody aims at another's slot
	for i := range g.slots {
		g.slots[i] = rate.NewLimiter(rate.Every(guessPause), maxGuesses)
	}
	return g
}

// try calls isRight unless the address has tried too many wrong ones; that is the error. Of many at once from one address
// none goes uncounted.
func (g *guesses) try(address string, now time.Time, isRight func() bool) error {
	slot := g.slots[maphash.String(g.seed, network(address))%guessSlots]
	g.mu.Lock()
	defer g.mu.Unlock()
	if slot.TokensAt(now) < 1 {
		return newProblem(http.StatusTooManyRequests, "too-many-guesses", "Too many wrong tokens came from here",
			"Whether this one is right was not looked at.", "Wait a minute, and check the token meanwhile.")
	}
	if !isRight() {
		slot.AllowN(now, 1)
	}
	return nil
}

// network is what one client can take its addresses from: with IPv6 that is a whole /64.
func network(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Unmap().Is4() {
		return host
	}
	prefix, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return host
	}
	return prefix.String()
}
