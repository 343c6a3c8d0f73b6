package retry

import "sync"

// growAfter is how many attempts in a row must work before a larger one is made: on a database that takes so
// much and no more, each that is too large costs its whole time.
const growAfter = 8

// Portion says how much to attempt at once: what fails whole, because the world is slow or short of memory, may
// work in parts. It is halved after each failure, down to one, and doubled again when enough has worked. The
// zero value is the whole; any goroutine may use it.
type Portion struct {
	mu     sync.Mutex
	halved uint
	worked int // in a row
}

// Of returns how many of n to attempt, at least one.
func (p *Portion) Of(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(1, n>>p.halved)
}

// Failed notes a failure.
func (p *Portion) Failed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	const most = 16 // leaves one of the largest batch there is
	p.halved, p.worked = min(p.halved+1, most), 0
}

// Worked notes that an attempt came through.
func (p *Portion) Worked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.worked++; p.halved > 0 && p.worked >= growAfter {
		p.halved, p.worked = p.halved-1, 0
	}
}
