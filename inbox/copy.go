package inbox

import (
	"context"
	"slices"
	"time"
)

// originalsOf returns what messages are copies of, as columns with nulls for those that are none; nil when all are none.
func originalsOf(messages []Message) (columns []any) {
	if !slices.ContainsFunc(messages, func(m Message) bool { return m.CopyOf != nil }) {
		return nil
	}
	var (
		sources, channels = make([]*string, len(messages)), make([]*string, len(messages))
		sequences         = make([]*int64, len(messages))
		stamps            = make([]*time.Time, len(messages))
	)
	for i, m := range messages {
		if of := m.CopyOf; of != nil {
			sources[i], channels[i], sequences[i], stamps[i] = &of.Source, &of.Channel, &of.Sequence, &of.StampedAt
		}
	}
	return []any{sources, channels, sequences, stamps}
}

// What is done about copies takes several statements under one lock. They are a function of the database's (migration
// 0004), so that no part of them waits for the network.
const appendCopiesSQL = `select append_messages($1, $2, $3, $4, $5, $6, $7, $8, $9)`

func (b *Inbox) appendCopies(ctx context.Context, args []any) (stored int, err error) {
	err = b.pool.QueryRow(ctx, appendCopiesSQL, args...).Scan(&stored)
	return stored, err
}
