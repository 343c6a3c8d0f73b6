package main

import (
	"context"
	"fmt"
	"math"
)

// ramp asks for more with each step.
type ramp struct {
	Name, Title, Asked string // Asked is what grows, with its unit
	at                 func(i int) step
	steps              int // at most
	x, y               func(r result) float64
	yLabel             string
}

var ramps = []*ramp{
	{Name: "closed", Title: "Lookups as fast as they are answered", Asked: "connections", steps: 7, yLabel: "GET/s",
		at: func(i int) step { return step{Connections: 1 << (2 * i)} },
		x:  func(r result) float64 { return float64(r.Connections) }, y: func(r result) float64 { return r.Answered }},
	{Name: "lookups", Title: "Lookups at a steady rate", Asked: "lookups/s", steps: 12, yLabel: "p99 of lookups, ms",
		at: func(i int) step { return step{Lookups: grown(1000, i)} },
		x:  func(r result) float64 { return r.Lookups }, y: func(r result) float64 { return r.P99 }},
	{Name: "beside", Title: "Lookups at a steady rate, beside 1,000 messages/s", Asked: "lookups/s", steps: 12, yLabel: "p99 of lookups, ms",
		at: func(i int) step { return step{Lookups: grown(1000, i), Messages: 1000} },
		x:  func(r result) float64 { return r.Lookups }, y: func(r result) float64 { return r.P99 }},
	{Name: "messages", Title: "Messages, beside 1,000 lookups/s", Asked: "messages/s", steps: 12, yLabel: "p99 of lookups, ms",
		at: func(i int) step { return step{Lookups: 1000, Messages: grown(1000, i)} },
		x:  func(r result) float64 { return r.Messages }, y: func(r result) float64 { return r.P99 }},
}

// grown is a rate after so many steps, each by half, in hundreds.
func grown(from float64, steps int) float64 {
	return 100 * math.Round(from*math.Pow(1.5, float64(steps))/100)
}

// climb asks all versions in turn for more, each until it breaks twice at the same step: once may be the machine's fault.
func (s *stress) climb(ctx context.Context, up *ramp) error {
	broken := map[string]bool{}
	for i := range up.steps {
		for _, v := range s.versions {
			if broken[v.name] {
				continue
			}
			r, err := s.run(ctx, v, up.at(i))
			if err == nil && r.broken() != "" {
				r, err = s.run(ctx, v, up.at(i))
			}
			if err != nil {
				return fmt.Errorf("%s, %s: %w", up.Title, v.name, err)
			}
			r.ramp = up
			s.results = append(s.results, r)
			broken[v.name] = r.broken() != ""
			s.say("%s %.0f %s, %s: %.0f GET/s, p50 %.2f ms, p99 %.2f ms, %.0f messages/s visible after %.2f s; %s %s",
				up.Name, up.x(r), up.Asked, v.name, r.Answered, r.P50, r.P99, r.Published, r.Behind.Seconds(), r.Usage, r.broken())
		}
	}
	return nil
}
