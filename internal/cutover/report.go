package cutover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"orderbox/internal/stream"
)

// Report is what became of every message that STAN has and of every one that the stream has.
type Report struct {
	Channel string `json:"channel"`
	// Stream is the stream as the log calls it.
	Stream string      `json:"stream"`
	STAN   STANReport  `json:"stan"`
	Log    LogReport   `json:"log"`
	Copies CopyReport  `json:"copies"`
	Whole  WholeReport `json:"whole_stream"`
	// Ready says that STAN can be switched off; Verdict says so in a line, or why not.
	Ready   bool   `json:"ready"`
	Verdict string `json:"verdict"`
}

// STANReport is what the channel had when the report began.
type STANReport struct {
	Messages int64     `json:"messages"`
	First    uint64    `json:"first"`
	Last     uint64    `json:"last"`
	LastAt   time.Time `json:"last_at,omitzero"` // STAN's stamp of the last
	// Since is how many messages came while the report was made. They are not compared.
	Since int64 `json:"since"`
}

// LogReport is where STAN's messages are in the log. Messages = Once + Missing + Different + Doubled + Detached.
type LogReport struct {
	Once      int64 `json:"once"` // byte for byte
	Missing   int64 `json:"missing"`
	Different int64 `json:"different"` // there is another payload under their identity
	Doubled   int64 `json:"doubled"`
	Detached  int64 `json:"detached"` // taken out of the log on purpose
	// Wrong are the first runs of sequences that are missing, different or doubled.
	Wrong []Run `json:"wrong"`
	// How those that are there once came: by STAN first and as a copy later, by STAN alone, or as a copy first.
	Both       int64 `json:"both"`
	STANAlone  int64 `json:"stan_alone"`
	CopiedOnly int64 `json:"copied_first"`
}

// CopyReport is where STAN's messages are in the stream. Messages = Once + Missing.
type CopyReport struct {
	Once    int64 `json:"once"`    // in STAN's order
	Missing int64 `json:"missing"` // there is no copy in its place
	// Again are copies more than one of a message, or out of their place. They are no loss: the log takes them for what they are.
	Again int64 `json:"again"`
	// Gone are copies of what STAN does not have any more.
	Gone int64 `json:"gone"`
	// Wrong are the first runs of sequences without a copy in their place.
	Wrong []Run `json:"wrong"`
}

// WholeReport is how much of the whole stream is in the log, what was published to it directly included.
type WholeReport struct {
	Messages int64 `json:"messages"`
	InLog    int64 `json:"in_log"`
	NotYet   int64 `json:"not_yet"`
}

// Run is a run of sequences with what is wrong with them.
type Run struct {
	What string `json:"what"`
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

const maxRuns = 20

// addRun adds a sequence to the runs, of which it keeps the first ones.
func addRun(runs []Run, what string, sequence uint64) []Run {
	if n := len(runs); n > 0 && runs[n-1].What == what && runs[n-1].To+1 == sequence {
		runs[n-1].To = sequence
	} else if n < maxRuns {
		runs = append(runs, Run{what, sequence, sequence})
	}
	return runs
}

// ProveOptions say what is compared with what.
type ProveOptions struct {
	STAN   STAN
	Stream stream.Options
	Pool   *pgxpool.Pool // the log's database; reading is enough
	// Quiet is for how long STAN must have had nothing new for the verdict that it can be switched off.
	Quiet time.Duration
	// Progress is called now and then with the sequence that has been compared, and the last one; it may be nil.
	Progress func(sequence, last uint64)
}

// Prove reads the whole channel anew from STAN, as far as it goes when it begins, and compares each message with the log
// and with the stream. It trusts nothing that the relay or a stage says of itself. It moves nothing, and may be asked for
// at any time. Memory is bounded; a million messages take a minute or two.
//
// An error says that it could not be compared; what does not add up is in the report.
func Prove(ctx context.Context, o ProveOptions) (Report, error) {
	r := Report{Channel: o.STAN.Channel, Log: LogReport{Wrong: []Run{}}, Copies: CopyReport{Wrong: []Run{}}}
	if o.Progress == nil {
		o.Progress = func(uint64, uint64) {}
	}
	lost, lose := stream.Lost()
	nc, js, err := connectStream(o.Stream, lose)
	if err != nil {
		return r, err
	}
	defer nc.Close()
	s, err := js.Stream(ctx, o.Stream.Name)
	if err != nil {
		return r, fmt.Errorf("look for the stream %s: %w", o.Stream.Name, err)
	}
	conn, err := o.STAN.connect(lose)
	if err != nil {
		return r, err
	}
	defer conn.Close()
	began := time.Now()
	// In this order, for what STAN has now is in the stream and the log later, if at all.
	end, err := compare(ctx, conn, s, lost, o, &r)
	if err != nil {
		return r, fmt.Errorf("compare the channel %s: %w", o.STAN.Channel, err)
	}
	if err := countWhole(ctx, s, o.Pool, &r); err != nil {
		return r, fmt.Errorf("compare the stream %s with the log: %w", o.Stream.Name, err)
	}
	if err := since(ctx, conn, end, &r); err != nil {
		return r, fmt.Errorf("look at the channel %s again: %w", o.STAN.Channel, err)
	}
	r.judge(o.Quiet, began)
	return r, nil
}

// judge says whether it all adds up. The last message's age counts from when the report began: what came since is another.
func (r *Report) judge(quiet time.Duration, began time.Time) {
	var reasons []string
	because := func(n int64, what string) {
		if n > 0 {
			reasons = append(reasons, fmt.Sprintf("%d %s", n, what))
		}
	}
	if r.STAN.Messages == 0 {
		reasons = append(reasons, fmt.Sprintf("STAN has no message on channel %s: is it the right channel and cluster?", r.Channel))
	}
	because(r.Log.Missing, "of its messages are not in the log")
	because(r.Log.Different, "of its messages are other ones in the log")
	because(r.Log.Doubled, "of its messages are in the log more than once")
	because(r.Copies.Missing, "of its messages have no copy in the stream")
	because(r.Whole.NotYet, "messages of the stream are not in the log")
	if r.Copies.Missing == 0 && r.Whole.NotYet <= 0 {
		because(r.Log.STANAlone, "of its messages have no copy in the log: it has another payload, or came while this was compared")
	}
	because(r.STAN.Since, "messages came to STAN while this was compared")
	if age := began.Sub(r.STAN.LastAt); r.STAN.Messages > 0 && age < quiet {
		reasons = append(reasons, fmt.Sprintf("its last message came %s ago, less than %s", max(0, age).Round(time.Second), quiet))
	}
	if r.Ready = len(reasons) == 0; r.Ready {
		r.Verdict = "STAN can be switched off: every message is in the log once, and copied"
	} else {
		r.Verdict = "STAN cannot be switched off yet: " + strings.Join(reasons, ", ")
	}
	if r.Log.Detached > 0 {
		r.Verdict += fmt.Sprintf("; %d were not compared with the log, because their month was detached", r.Log.Detached)
	}
}

// errCompared ends the reading of a channel.
var errCompared = errors.New("all is compared")
