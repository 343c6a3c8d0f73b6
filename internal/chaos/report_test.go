package chaos

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"orderbox/publisher"
)

// schedule is a line for each fault that is over.
func (r *run) schedule() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, h := range r.past {
		fmt.Fprintf(&b, "fault %d (%v) at message %d, %v after the begin, for %v%s; all well %v later\n",
			h.number, h, h.at, h.began.Round(time.Millisecond), h.hold.Round(time.Millisecond), h.successor(), h.back.Round(time.Millisecond))
	}
	return b.String()
}

// successor says when another one led, if one had to.
func (h happened) successor() string {
	if !h.succeeds() {
		return ""
	}
	return fmt.Sprintf("; another one led after %v", h.replaced.Round(time.Millisecond))
}

// report is the outcome of a run that found nothing wrong, in Markdown.
func (r *run) report(command string) string {
	var b strings.Builder
	l, c := r.load, r.checker
	fmt.Fprintf(&b, "# A chaos run\n\nWritten by the run itself, one of `task chaos`; `go doc orderbox/internal/chaos` says what it checks. "+
		"The same seed gives the same messages and the same faults at the same messages:\n\n    %s\n\n"+
		"Broker and database leave the writing to the disk to the system, which no fault here stops: what a crash of the whole machine "+
		"would lose is not tested by this.\n\n", command)
	fmt.Fprintf(&b, "**%s messages and %d faults: nothing lost, nothing doubled.**\n\n", thousands(int64(l.messages)), len(r.past))

	fmt.Fprintf(&b, "|  |  |\n|---|---:|\n")
	row := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "| %s | %s |\n", what, fmt.Sprintf(format, args...))
	}
	row("seed", "%d", r.seed)
	row("run on", "%s, %d processors, %s/%s", r.began.UTC().Format("2006-01-02"), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	row("from the first message until the last was decided", "%v", r.took.Round(time.Second))
	row("messages published, and all confirmed by the broker", "%s", thousands(l.confirmed.Load()))
	row("published once more, because no confirmation came", "%s", thousands(l.again.Load()))
	row("different payloads", "%s", thousands(int64(len(l.ledger.payloads))))
	row("stores that the broker had, one after the other", "%d", len(r.epochs))
	row("messages in these stores, by the broker's own numbers", "%s", thousands(r.stored()))
	row("entries in the log", "%s", thousands(c.entries))
	row("orders", "%s", thousands(c.orders))
	row("duplicates", "%s", thousands(c.duplicates))
	for _, reason := range slices.Sorted(maps.Keys(c.deadLetters)) {
		row("dead letters: "+reason, "%s", thousands(c.deadLetters[reason]))
	}
	row("lookups during the run that got the order, byte for byte", "%s", thousands(r.lookups.served.Load()))
	row("lookups that were told that there is no such order (yet)", "%s", thousands(r.lookups.notFound.Load()))
	row("lookups answered while a fault was under way", "%s", thousands(r.lookups.during.Load()))
	row("lookups without an answer, at a replica that was killed, paused or restarting", "%s", thousands(r.lookups.silent.Load()))
	row("lookups without an answer elsewhere, or with a wrong one, and all other problems", "%d", len(r.problems.lines()))
	row("order_uids read back from the replicas at the end, and right", "%s", thousands(int64(len(l.ledger.orders))))

	fmt.Fprintf(&b, "\nOf the messages, as published, %s were to be orders, %s duplicates, and %s rubbish or conflicts; what was published once more "+
		"came as duplicates and dead letters once more.\n", thousands(int64(l.ledger.kinds[publisher.VerdictOrder])),
		thousands(int64(l.ledger.kinds[publisher.VerdictDuplicate])), thousands(int64(l.messages-l.ledger.kinds[publisher.VerdictOrder]-l.ledger.kinds[publisher.VerdictDuplicate])))
	r.reportFaults(&b)
	return b.String()
}

// reportFaults sums the faults up by kind, and then lists them.
func (r *run) reportFaults(b *strings.Builder) {
	backs, replaced := map[string][]time.Duration{}, map[string][]time.Duration{}
	for _, h := range r.past {
		what := h.describe("")
		backs[what] = append(backs[what], h.back)
		if h.succeeds() {
			replaced[what] = append(replaced[what], h.replaced)
		}
	}
	fmt.Fprintf(b, "\n## Faults by kind\n\nAll is well again when every replica is ready and messages go on being decided.\n\n"+
		"| fault | times | all well after (median) | (longest) |\n|---|---:|---:|---:|\n")
	for _, what := range slices.Sorted(maps.Keys(backs)) {
		fmt.Fprintf(b, "| %s | %d | %s |\n", what, len(backs[what]), spread(backs[what]))
	}
	if len(replaced) > 0 {
		fmt.Fprintf(b, "\nWhere one that led was struck, another one led in its place:\n\n| fault | after (median) | (longest) |\n|---|---:|---:|\n")
	}
	for _, what := range slices.Sorted(maps.Keys(replaced)) {
		fmt.Fprintf(b, "| %s | %s |\n", what, spread(replaced[what]))
	}
	fmt.Fprintf(b, "\n## Faults in their order\n\n| | fault | at message | after | for | while another | all well after |\n|---:|---|---:|---:|---:|---|---:|\n")
	for _, h := range slices.SortedFunc(slices.Values(r.past), func(a, b happened) int { return int(a.began - b.began) }) {
		together := ""
		if h.together {
			together = "yes"
		}
		fmt.Fprintf(b, "| %d | %v | %s | %v | %v | %s | %v |\n", h.number, h, thousands(h.at), h.began.Round(time.Second), seconds(h.hold), together, seconds(h.back))
	}
}

// spread is the median and the longest, as two columns.
func spread(all []time.Duration) string {
	sorted := slices.Sorted(slices.Values(all))
	return fmt.Sprintf("%v | %v", seconds(sorted[len(sorted)/2]), seconds(sorted[len(sorted)-1]))
}

// stored is how many messages the brokers say that they had, without copies.
func (r *run) stored() (n int64) {
	for _, e := range r.epochs {
		n += e.last - e.copies
	}
	return n
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// thousands writes a number with commas.
func thousands(n int64) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
