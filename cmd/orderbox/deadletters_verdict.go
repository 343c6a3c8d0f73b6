package main

import (
	"context"
	"fmt"
	"time"

	"orderbox/internal/cli"
	"orderbox/internal/retry"
)

// verdictFlags say how long what was entered is waited for.
type verdictFlags struct {
	Wait time.Duration `default:"10s" help:"How long to wait for the verdicts; 0s is not at all. Default: ${default}." placeholder:"TIME"`
}

// entry is a retry or an amendment of a dead letter, by its position in the log. The position is 0 for a
// decision that enters nothing.
type entry struct{ letter, position int64 }

const verdictPoll = 100 * time.Millisecond

// await prints the verdict on each entry, as it comes. The error is that some were refused, or that some
// have none yet.
func (f verdictFlags) await(ctx context.Context, s cli.Streams, api operatorAPI, entered []entry) error {
	deadline := time.Now().Add(f.Wait)
	var refused, pending []entry
	for _, e := range entered {
		if f.Wait == 0 {
			fmt.Fprintf(s.Out, "%d was entered at position %d\n", e.letter, e.position)
			continue
		}
		d, err := api.waitVerdict(ctx, e, deadline)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.Out, "%d %s\n", e.letter, d.verdict())
		switch d.Outcome {
		case outcomePending:
			pending = append(pending, e)
		case outcomeRefused:
			refused = append(refused, e)
		}
	}
	switch {
	case len(refused) > 0:
		return cli.Try(fmt.Errorf("%d of %d refused again", len(refused), len(entered)),
			fmt.Sprintf("orderbox dead-letters show %d, then amend it, or correct the schema", refused[0].letter))
	case len(pending) > 0:
		return cli.Try(fmt.Errorf("%d of %d without a verdict after %s", len(pending), len(entered), f.Wait),
			fmt.Sprintf("orderbox dead-letters show %d, later: what was entered stays so", pending[0].letter))
	}
	return nil
}

// What becomes of a retry or an amendment, in the service's words.
const (
	outcomePending   = "pending"
	outcomeOrder     = "order"
	outcomeDuplicate = "duplicate"
	outcomeRefused   = "dead_letter"
)

// waitVerdict asks, at least once, until there is a verdict on an entry or until the latest decision that
// enters nothing was applied.
func (a operatorAPI) waitVerdict(ctx context.Context, e entry, deadline time.Time) (pastDecision, error) {
	for {
		var l letter
		if err := a.get(ctx, letterPath(e.letter), nil, &l); err != nil {
			return pastDecision{}, err
		}
		found := pastDecision{Outcome: outcomePending}
		for _, d := range l.History {
			if d.Entry == e.position {
				found = d
			}
		}
		if found.Outcome != outcomePending || time.Now().After(deadline) {
			return found, nil
		}
		_ = retry.Wait(ctx, verdictPoll) // the next question says when ctx has ended
	}
}

// verdict says what became of a retry or an amendment.
func (d pastDecision) verdict() string {
	switch d.Outcome {
	case outcomeOrder:
		return "became order " + plain(d.OrderUID)
	case outcomeDuplicate:
		return "is a duplicate of order " + plain(d.OrderUID)
	case outcomeRefused:
		return "was refused again: " + plain(d.Sentence)
	case outcomePending:
		return "has no verdict yet"
	}
	return plain(d.Outcome)
}
