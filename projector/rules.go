package projector

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"orderbox/inbox"
)

// rules are the schemas by which a generation judges, in the order of their adoption: the first judges
// from the beginning of the log, each other one from the position on at which it was adopted.
type rules []rule

type rule struct {
	id, after int64
	schema    *schema
}

// at returns the schema that judges the message at a position.
func (r rules) at(position int64) *schema {
	i := len(r) - 1
	for i > 0 && r[i].after >= position {
		i--
	}
	return r[i].schema
}

// last is the id of the schema that was adopted last of them.
func (r rules) last() int64 { return r[len(r)-1].id }

// later returns the rules with those that were adopted since.
func (r rules) later(ctx context.Context, box *inbox.Inbox) (rules, error) {
	last := r.last()
	adopted, err := box.Schemas(ctx, last)
	if err != nil {
		return nil, err
	}
	for _, a := range adopted {
		if a.ID == last {
			continue
		}
		s, err := newSchema(a.Source)
		if err != nil {
			return nil, err
		}
		r = append(r, rule{a.ID, a.After, s})
	}
	return r, nil
}

// openRules returns the rules of a generation with that base.
func openRules(ctx context.Context, box *inbox.Inbox, base int64) (rules, error) {
	adopted, err := box.Schemas(ctx, base)
	if err != nil {
		return nil, err
	}
	s, err := newSchema(adopted[0].Source)
	if err != nil {
		return nil, err
	}
	return rules{{adopted[0].ID, 0, s}}.later(ctx, box)
}

// judge judges a batch on that many cores; the judgements are in the order of the entries.
func (r rules) judge(entries []inbox.Entry, cores int) []judgement {
	judged := make([]judgement, len(entries))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(cores, len(entries)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(entries); i = int(next.Add(1)) - 1 {
				judged[i] = r.at(entries[i].Position).judgeOrGiveUp(entries[i])
			}
		})
	}
	workers.Wait()
	return judged
}

// judgeOrGiveUp makes a dead letter of a message that makes the program panic: trying again would only panic
// again, and every later message would wait for this one.
func (s *schema) judgeOrGiveUp(entry inbox.Entry) (j judgement) {
	defer func() {
		if fault := recover(); fault != nil {
			j = judgement{position: entry.Position, original: entry.Original, receivedAt: entry.ReceivedAt, schema: s.version}
			j.dead = unjudgedLetter()
			j.dead.fault = describe(fault) + "\n" + string(debug.Stack())
		}
	}()
	return s.judge(entry)
}

// describe says what made the program panic. Only the runtime's own words are known to quote no data.
func describe(fault any) string {
	if err, ok := fault.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a value of type %T", fault)
}

func allCores() int { return runtime.GOMAXPROCS(0) }
