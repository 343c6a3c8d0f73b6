package chaos

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// examples is how many of one kind of problem are named.
const examples = 5

// problems collects what must not be. Its methods may be called concurrently.
type problems struct {
	// tell hears of the first of each kind at once: a long run is watched.
	tell func(...any)

	mu    sync.Mutex
	count map[string]int
	named map[string][]string
}

// add notes a problem. where names the place by ids and positions, never by an order's data.
func (p *problems) add(what, where string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count == nil {
		p.count, p.named = map[string]int{}, map[string][]string{}
	}
	if p.count[what]++; p.count[what] <= examples {
		p.named[what] = append(p.named[what], fmt.Sprintf(where, args...))
	}
	if p.count[what] == 1 && p.tell != nil {
		p.tell("PROBLEM:", what+":", p.named[what][0])
	}
}

// lines are a sentence for each kind, sorted.
func (p *problems) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	for what, n := range p.count {
		lines = append(lines, fmt.Sprintf("%d × %s: %s", n, what, strings.Join(p.named[what], "; ")))
	}
	slices.Sort(lines)
	return lines
}
