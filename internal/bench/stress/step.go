package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"orderbox/internal/bench/load"
	"orderbox/publisher"
)

// Where a service counts as broken.
const (
	mostP99    = 100.0 // milliseconds
	mostFailed = 0.001
	leastOf    = 0.95 // what is asked for, in a second
	mostBehind = time.Second
)

const (
	timeout    = 2 * time.Second // of a lookup
	workers    = 1024            // of vegeta's at most, with a connection each
	rubbish    = 0.1             // of what is published
	wrkThreads = 2
)

// step is what is asked for at one time.
type step struct {
	Connections int     // lookups as fast as they are answered over so many
	Lookups     float64 // a second, however long they take
	Messages    float64 // published a second
}

// result is what became of a step.
type result struct {
	ramp    *ramp
	version string
	step
	Answered  float64       // a second
	P50, P99  float64       // milliseconds
	Failed    float64       // share of the lookups
	Error     string        // of one of them
	Published float64       // a second
	Behind    time.Duration // from the last confirmation until the last order is found
	Usage     usage
}

// broken says what broke, and nothing when all is well.
func (r result) broken() string {
	switch {
	case r.Failed > mostFailed:
		return fmt.Sprintf("%.1f %% of the lookups failed: %s", 100*r.Failed, r.Error)
	case r.Answered < leastOf*r.Lookups:
		return fmt.Sprintf("%.0f lookups/s were answered", r.Answered)
	case r.P99 > mostP99:
		return fmt.Sprintf("p99 of the lookups was %.0f ms", r.P99)
	case r.Published < leastOf*r.Messages:
		return fmt.Sprintf("%.0f messages/s were confirmed", r.Published)
	case r.Behind > mostBehind:
		return fmt.Sprintf("the last order was visible after %.1f s", r.Behind.Seconds())
	}
	return ""
}

// run asks a version for what a step says and returns when all that was published is visible.
func (s *stress) run(ctx context.Context, v *version, asked step) (r result, err error) {
	r = result{version: v.name, step: asked}
	var payloads [][]byte
	var last string
	for m := range publisher.Messages(rand.Uint64(), int(asked.Messages*s.hold.Seconds()), rubbish) {
		payloads = append(payloads, m.Payload)
		if m.Verdict == publisher.VerdictOrder {
			last = m.OrderUID
		}
	}
	before, err := count(v.process.Pid)
	if err != nil {
		return r, err
	}
	published := make(chan error, 1)
	go func() {
		if len(payloads) == 0 {
			published <- nil
			return
		}
		began := time.Now()
		err := v.publish(ctx, payloads, asked.Messages)
		confirmed := time.Now()
		r.Published = float64(len(payloads)) / confirmed.Sub(began).Seconds()
		err = errors.Join(err, v.visible(ctx, last))
		r.Behind = time.Since(confirmed)
		published <- err
	}()
	if asked.Connections > 0 {
		err = s.closed(ctx, v, &r)
	} else {
		s.open(v, &r)
	}
	err = errors.Join(err, <-published)
	after, failed := count(v.process.Pid)
	r.Usage = after.since(before)
	return r, errors.Join(err, failed)
}

// closed looks up as fast as answers come.
func (s *stress) closed(ctx context.Context, v *version, r *result) error {
	l, err := load.Wrk(ctx, load.Options{URL: v.url, Before: lookupPath, IDs: s.ids, Threads: min(wrkThreads, r.Connections),
		Connections: r.Connections, Duration: s.hold, Timeout: timeout})
	if err != nil {
		return err
	}
	r.Answered, r.P50, r.P99 = l.PerSecond(), l.P50/1000, l.P99/1000
	if l.Errors > 0 {
		r.Failed, r.Error = float64(l.Errors)/float64(l.Requests+l.Errors), "as wrk counts them"
	}
	return nil
}

// open looks up at a steady rate.
func (s *stress) open(v *version, r *result) {
	m := load.Steady(v.url+lookupPath, s.uids, int(r.Lookups), s.hold,
		vegeta.Connections(workers), vegeta.MaxWorkers(workers), vegeta.Timeout(timeout))
	r.Answered, r.Failed = m.Throughput, 1-m.Success
	r.P50, r.P99 = m.Latencies.P50.Seconds()*1000, m.Latencies.P99.Seconds()*1000
	if len(m.Errors) > 0 {
		r.Error = m.Errors[0]
	}
}
