package projector

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/inbox"
)

// errReplaced says that a generation is not in the state any more in which this projector found it.
var errReplaced = errors.New("the generation was replaced")

// projection is one generation while this process projects into it. One goroutine reads and judges, another
// writes, over the connection that holds the lock.
type projection struct {
	*Projector
	conn       *pgx.Conn // its search path leads to the generation
	gen        generation
	checkpoint int64
	end        int64        // the last position to project; 0 for all there will be
	cores      int          // to judge on
	batch      atomic.Int64 // messages that share a transaction at most
	progress   func()       // called after each batch; may be nil
	pace       *pace        // when to pause

	reading sync.Mutex // guards rules
	rules   rules
}

const checkpointSQL = `
select position
from checkpoint`

func (p *Projector) newProjection(conn *pgx.Conn, gen generation, cores int) *projection {
	x := &projection{Projector: p, conn: conn, gen: gen, cores: cores, pace: new(pace)}
	x.batch.Store(int64(p.o.Batch))
	return x
}

// Whatever is looked up while projecting goes by an index. What the planner knows of a table is from when it was last
// analysed, and the foreign keys keep the plans of their look-ups: made for a few rows, those would go on reading the
// whole table while it grows to a million.
const enterSQL = `
select set_config('search_path', quote_ident($1) || ', public', false),
    set_config('enable_seqscan', 'off', false)`

// open prepares to project into a generation, over a connection that nobody else uses.
func (p *Projector) open(ctx context.Context, conn *pgx.Conn, gen generation) (*projection, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	x := p.newProjection(conn, gen, allCores())
	var err error
	if x.rules, err = openRules(ctx, p.box, gen.base); err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, enterSQL, gen.name); err != nil {
		return nil, fmt.Errorf("choose %s: %w", gen.name, err)
	}
	if err := conn.QueryRow(ctx, checkpointSQL).Scan(&x.checkpoint); err != nil {
		return nil, fmt.Errorf("read the checkpoint of %s: %w", gen.name, err)
	}
	return x, nil
}

// run projects until ctx ends or the world fails. Whenever the reader has come to the end of the log the
// writer calls caughtUp, which may end the run, and the reader waits for more.
func (x *projection) run(ctx context.Context, more func(ctx context.Context) error, caughtUp func(ctx context.Context) (done bool, err error)) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	batches, failed := make(chan []judgement, 1), make(chan error, 1)
	go func() {
		defer close(batches)
		failed <- x.read(reading, more, batches)
	}()
	err := x.follow(ctx, caughtUp, batches, failed)
	stop()
	for range batches { // until the reader has ended
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, errReplaced) {
		x.portion.Failed()
	}
	return err
}

func (x *projection) follow(ctx context.Context, caughtUp func(context.Context) (bool, error), batches <-chan []judgement, failed <-chan error) error {
	signs := time.NewTicker(leadSign)
	defer signs.Stop()
	for {
		select {
		case judged, more := <-batches:
			if !more {
				return <-failed
			}
			if done, err := x.take(ctx, caughtUp, judged); done || err != nil {
				return err
			}
		case <-signs.C: // what is read next may take long to judge
			if x.gen.state != stateCurrent {
				continue // nobody waits to take over
			}
			if err := x.sign(ctx); err != nil {
				return err
			}
		}
	}
}

// take projects a batch, or does what is to be done when there is none.
func (x *projection) take(ctx context.Context, caughtUp func(context.Context) (bool, error), judged []judgement) (done bool, err error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if len(judged) == 0 {
		return caughtUp(ctx)
	}
	return false, x.advance(ctx, judged)
}

// sign shows who stands by that this one lives.
func (x *projection) sign(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leadTimeout)
	defer cancel()
	return x.conn.Ping(ctx)
}

// advance projects a batch, but for what was projected since it was read.
func (x *projection) advance(ctx context.Context, judged []judgement) error {
	for len(judged) > 0 && judged[0].position <= x.checkpoint {
		judged = judged[1:]
	}
	if len(judged) == 0 {
		return nil
	}
	var err error
	x.pace.keep(ctx, func() { err = x.project(ctx, judged) })
	if err != nil {
		return err
	}
	x.portion.Worked()
	if x.progress != nil {
		x.progress()
	}
	return nil
}

// read sends the judged entries after the checkpoint, and an empty batch when it has come to the end: to who is in service
// only when there was nothing else, for with a batch it does all that it has to do.
func (x *projection) read(ctx context.Context, more func(ctx context.Context) error, batches chan<- []judgement) error {
	send := func(judged []judgement) error {
		select {
		case batches <- judged:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	after := x.checkpoint
	for {
		judged, last, err := x.next(ctx, after)
		if err == nil {
			err = send(judged)
		}
		if err != nil {
			return err
		}
		if len(judged) > 0 {
			after = judged[len(judged)-1].position
		}
		if !last {
			continue
		}
		if len(judged) > 0 && x.gen.state != stateCurrent {
			if err := send(nil); err != nil {
				return err
			}
		}
		if err := more(ctx); err != nil {
			return err
		}
	}
}

// next reads and judges the batch behind a position, and says whether there was nothing behind that: the batch is empty at the end
// of the log.
func (x *projection) next(ctx context.Context, after int64) (judged []judgement, last bool, err error) {
	x.reading.Lock()
	defer x.reading.Unlock()
	entries, err := x.entries(ctx, after)
	if err != nil {
		return nil, false, err
	}
	judged = x.judge(ctx, entries)
	for _, j := range judged {
		if j.dead != nil && j.dead.fault != "" {
			x.log.Error("judging a message failed: it is a dead letter now", "position", j.position, "fault", j.dead.fault)
		}
	}
	return judged, len(entries) == 0 || entries[len(entries)-1].Ahead.Last, nil
}

// entries reads the batch behind a position, and whatever schemas it needs.
func (x *projection) entries(ctx context.Context, after int64) ([]inbox.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	entries, err := x.box.Read(ctx, after, x.portion.Of(int(x.batch.Load())), maxBatchBytes)
	if err != nil {
		return nil, err
	}
	for x.end > 0 && len(entries) > 0 && entries[len(entries)-1].Position > x.end {
		entries = entries[:len(entries)-1]
	}
	if len(entries) > 0 && x.gen.base != 0 && entries[0].Ahead.Adopted > x.rules.last() {
		x.rules, err = x.rules.later(ctx, x.box)
	}
	return entries, err
}

func (x *projection) judge(ctx context.Context, entries []inbox.Entry) (judged []judgement) {
	if !x.pace.pauses() {
		return x.rules.judge(entries, x.cores)
	}
	for len(entries) > 0 {
		x.pace.keep(ctx, func() { judged = append(judged, x.rules.judge(entries[:1], 1)...) })
		entries = entries[1:]
	}
	return judged
}
