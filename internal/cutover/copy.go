package cutover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/stan.go"
)

const publishTimeout = 10 * time.Second

// copy copies a message and what is there behind it, as far as it fits a batch, and acknowledges them.
func (r *Relay) copy(ctx context.Context, conn stan.Conn, to *target, first *stan.Msg, more <-chan *stan.Msg) error {
	var originals []*stan.Msg
	var copies []*nats.Msg
	last, bytes := to.last, 0
	take := func(msg *stan.Msg) error {
		if msg.Sequence <= last.sequence { // delivered again, and copied already
			return msg.Ack()
		}
		if last.sequence > 0 {
			if err := follows(ctx, conn, r.o.STAN.Channel, last.sequence, msg.Sequence); err != nil {
				return err
			}
		}
		last = place{msg.Sequence, msg.Timestamp}
		originals, copies = append(originals, msg), append(copies, to.message(msg))
		bytes += len(msg.Data)
		return nil
	}
	if err := take(first); err != nil {
		return err
	}
	for len(copies) < maxBatch && bytes < maxBatchBytes && !(len(copies) > 0 && to.alone(copies[len(copies)-1])) {
		select {
		case msg := <-more:
			if err := take(msg); err != nil {
				return err
			}
			continue
		default:
		}
		break
	}
	return r.publish(ctx, to, originals, copies)
}

// publish publishes what was taken, in one batch unless the last of it has to be alone.
func (r *Relay) publish(ctx context.Context, to *target, originals []*stan.Msg, copies []*nats.Msg) error {
	for len(copies) > 0 {
		n := len(copies)
		if n > 1 && to.alone(copies[n-1]) {
			n--
		}
		publishing, cancel := context.WithTimeout(ctx, publishTimeout)
		at, err := to.publish(publishing, copies[:n])
		cancel()
		newest := originals[n-1]
		switch {
		case wrongLast(err):
			return fmt.Errorf("somebody else has copied meanwhile, or a batch was confirmed after all: %w", err)
		case errors.Is(err, nats.ErrMaxPayload) || isTooLarge(err):
			return r.refuseLarge(to, originals[:n], err)
		case err != nil:
			return fmt.Errorf("copy the messages %d to %d: %w", originals[0].Sequence, newest.Sequence, err)
		}
		to.last, to.at = place{newest.Sequence, newest.Timestamp}, at
		r.done(n, to.last)
		for _, msg := range originals[:n] {
			if err := msg.Ack(); err != nil {
				return fmt.Errorf("acknowledge message %d: %w", msg.Sequence, err)
			}
		}
		originals, copies = originals[n:], copies[n:]
	}
	return nil
}

func isTooLarge(err error) bool {
	refused, ok := errors.AsType[*jetstream.APIError](err)
	return ok && refused.ErrorCode == tooLarge
}

// refuseLarge names the largest of the messages, which the server does not take.
func (r *Relay) refuseLarge(to *target, originals []*stan.Msg, err error) error {
	largest := originals[0]
	for _, msg := range originals {
		if len(msg.Data) > len(largest.Data) {
			largest = msg
		}
	}
	return &Refusal{fmt.Errorf("message %d of the channel %s has %d bytes, more than the stream %s takes with its headers: %w",
		largest.Sequence, r.o.STAN.Channel, len(largest.Data), to.name, err),
		"a larger max_payload of the NATS server, and no --max-msg-size of the stream below it; nothing is skipped, and copying goes on from there"}
}
