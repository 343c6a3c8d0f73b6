package ingest

import (
	"context"
	"slices"
	"time"
)

// detached is how far a channel's messages were in the log and were taken out of it on purpose, as it was known when a
// session began. The committing goroutine's.
type detached struct {
	session  int64
	channel  string
	sequence uint64 // of the last; zero for none
	stamp    int64  // microseconds, as the log keeps it
}

// withoutDetached leaves out what a durable subscription that was made anew delivers of months that were detached. The log
// would take that for new. Of what was delivered before it leaves out nothing: somebody may have had it in hand since
// before the month was over.
func (g *Ingester) withoutDetached(ctx context.Context, batch []*delivery) ([]*delivery, error) {
	if err := g.lookForDetached(ctx, batch[0].channel); err != nil {
		return nil, err
	}
	d := &g.detached
	again := func(m *delivery) bool {
		return m.first && m.channel == d.channel && m.sequence <= d.sequence && m.stamp/int64(time.Microsecond) <= d.stamp
	}
	if !slices.ContainsFunc(batch, again) {
		return batch, nil
	}
	kept := slices.DeleteFunc(slices.Clone(batch), again)
	g.log.Warn("messages of a detached month came again, and are acknowledged", "channel", d.channel, "messages", len(batch)-len(kept),
		"to_sequence", d.sequence)
	return kept, nil
}

// lookForDetached asks once a session. When the durable subscription was made anew, there is a new session.
func (g *Ingester) lookForDetached(ctx context.Context, channel string) error {
	session := g.sessions.Load()
	if g.detached.session == session && g.detached.channel == channel {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	sequence, stamp, err := g.box.Detached(ctx, g.source, channel)
	if err != nil {
		return err
	}
	g.detached = detached{session, channel, uint64(sequence), stamp.UnixMicro()}
	return nil
}
