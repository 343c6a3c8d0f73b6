package cutover

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"orderbox/internal/stream"
)

const (
	// maxBatch and maxBatchBytes bound what the server takes as a whole; the first is its own limit.
	maxBatch      = 1000
	maxBatchBytes = 4 << 20
	// batchHeaders is more than what makes a message one of a batch adds to it.
	batchHeaders = 256
	// tooLarge is what the server says of a message that is larger than the stream permits.
	tooLarge jetstream.ErrorCode = 10054
)

// target is the stream as a session knows it.
type target struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	name    string
	subject string
	channel string
	last    place  // what was copied last
	at      uint64 // the sequence of that copy in the stream; 0 for none
}

// open returns the stream, made fit for copies, and how far they have come.
func (r *Relay) open(ctx context.Context, nc *nats.Conn, js jetstream.JetStream) (*target, error) {
	s, err := stream.Open(ctx, nc, js, r.o.Stream)
	if err != nil {
		return nil, err
	}
	t := &target{nc: nc, js: js, name: r.o.Stream.Name, subject: stream.CopySubject(r.o.STAN.Channel), channel: r.o.STAN.Channel}
	if err := t.prepare(ctx, s.CachedInfo().Config); err != nil {
		return nil, err
	}
	last, err := s.GetLastMsgForSubject(ctx, t.subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the last copy in the stream %s: %w", t.name, err)
	}
	origin, ok := stream.OriginOf(last.Subject, last.Header)
	if !ok {
		return nil, &Refusal{fmt.Errorf("message %d of the stream %s is on %s and no copy of a STAN message", last.Sequence, t.name, t.subject),
			fmt.Sprintf("let nobody else publish on %s, and take it out: nats stream rmm %s %d", t.subject, t.name, last.Sequence)}
	}
	t.last, t.at = placeOf(origin), last.Sequence
	return t, nil
}

// prepare has the stream take copies, in batches.
func (t *target) prepare(ctx context.Context, config jetstream.StreamConfig) error {
	if config.Retention != jetstream.LimitsPolicy {
		return &Refusal{fmt.Errorf("the stream %s forgets what was consumed, and with it how far copies have come", t.name),
			"a stream with the retention policy limits"}
	}
	lacks := !slices.Contains(config.Subjects, t.subject)
	if lacks {
		config.Subjects = append(slices.Clone(config.Subjects), t.subject)
	}
	if !lacks && config.AllowAtomicPublish {
		return nil
	}
	config.AllowAtomicPublish = true
	s, err := t.js.UpdateStream(ctx, config)
	if refused, ok := errors.AsType[*jetstream.APIError](err); ok && refused.Code < 500 {
		return &Refusal{fmt.Errorf("add the subject %s to the stream %s, and atomic publishing: %w", t.subject, t.name, err),
			fmt.Sprintf("do it as who may: nats stream edit %s --subjects %s,%s --allow-batch", t.name, t.channel, t.subject)}
	}
	if err != nil {
		return fmt.Errorf("add the subject %s to the stream %s: %w", t.subject, t.name, err)
	}
	if !s.CachedInfo().Config.AllowAtomicPublish {
		return &Refusal{fmt.Errorf("the NATS server %s does not know atomic publishing", t.nc.ConnectedServerVersion()),
			"nats-server 2.12 or newer"}
	}
	return nil
}

// message is the copy of one.
func (t *target) message(msg *stan.Msg) *nats.Msg {
	copied := nats.NewMsg(t.subject)
	name, value := stream.Origin{Channel: t.channel, Sequence: msg.Sequence, Stamp: msg.Timestamp}.Header()
	copied.Header.Set(name, value)
	copied.Header.Set(jetstream.ExpectedStreamHeader, t.name)
	copied.Data = msg.Data
	return copied
}

// alone says that a message is too large to be one of a batch.
func (t *target) alone(copied *nats.Msg) bool {
	return int64(copied.Size()+batchHeaders) > t.nc.MaxPayload()
}

// publish publishes messages as a whole behind the last copy.
func (t *target) publish(ctx context.Context, messages []*nats.Msg) (at uint64, err error) {
	if len(messages) == 1 {
		ack, err := t.js.PublishMsg(ctx, messages[0], jetstream.WithExpectLastSequencePerSubject(t.at))
		if err != nil {
			return 0, err
		}
		return ack.Sequence, nil
	}
	messages[0].Header.Set(jetstream.ExpectedLastSubjSeqHeader, fmt.Sprint(t.at))
	ack, err := jetstreamext.PublishMsgBatch(ctx, t.js, messages)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}
