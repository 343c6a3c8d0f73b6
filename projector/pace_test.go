package projector

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"orderbox/inbox"
)

func TestAReplaySlowsDownWhenOthersSufferAndSpeedsUpAgain(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	p := newPace()
	for range 50 {
		p.learn(felt{lookup: 4 * ms, schedule: ms, ingest: 10 * ms})
	}
	if p.begin(felt{}); p.pause != 0 || p.batch(2000) != 2000 {
		t.Errorf("nobody looks up, and it begins with a pause of %v", p.pause)
	}
	if p.begin(felt{lookup: ms}); p.pause == 0 || p.batch(2000) == 2000 {
		t.Error("somebody looks up, and it begins at full speed")
	}
	for range 20 {
		if status := p.adjust(felt{lookup: 7 * ms, schedule: ms, ingest: 190 * ms}); status != "" {
			t.Fatalf("within bounds: %q", status)
		}
	}
	if p.pause != leastPause {
		t.Errorf("nobody suffers, and it pauses %v times its work", p.pause)
	}
	if p.adjust(felt{}); p.pause != 0 || p.batch(2000) != 2000 {
		t.Errorf("nobody looks up any more, and it pauses %v times its work", p.pause)
	}
	if status := p.adjust(felt{schedule: time.Second}); status != "" {
		t.Errorf("without lookups the processors matter: %q", status)
	}
	before := 0.0
	for range 20 {
		status := p.adjust(felt{lookup: 20 * ms})
		if !strings.Contains(status, "the lookups' p99 is 20ms, 5.0 times its idle value") {
			t.Fatalf("not said: %q", status)
		}
		if p.pause < before || p.pause > mostPause {
			t.Fatalf("pause %v after %v", p.pause, before)
		}
		before = p.pause
	}
	if before != mostPause {
		t.Errorf("pauses %v at most", before)
	}
	if status := p.adjust(felt{lookup: ms, ingest: time.Second}); !strings.Contains(status, "the ingest lag is 1s, 10.0 times") {
		t.Errorf("the lag is not said: %q", status)
	}
	if status := p.adjust(felt{lookup: ms, schedule: 3 * ms}); !strings.Contains(status, "wait for a processor") {
		t.Errorf("the wait is not said: %q", status)
	}
}

func TestWaitingForAProcessorIsFelt(t *testing.T) {
	t.Parallel()
	p := newPace()
	p.scheduling()
	done := make(chan struct{})
	for range 1000 {
		go func() {
			for range 1000 {
			}
			done <- struct{}{}
		}()
	}
	for range 1000 {
		<-done
	}
	if p.scheduling() == 0 {
		t.Error("a thousand goroutines wait for nothing")
	}
}

func TestAReplayBesideLookupsPausesAfterEachMessageAndDoesOneThingAtATime(t *testing.T) {
	t.Parallel()
	p := newPace()
	p.begin(felt{lookup: time.Millisecond})
	var working atomic.Int32
	work := func() {
		if working.Add(1) != 1 {
			t.Error("two things are done at once")
		}
		for begun := time.Now(); time.Since(begun) < 5*time.Millisecond; {
		}
		working.Add(-1)
	}
	begun := time.Now()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for range 3 {
				p.keep(t.Context(), work)
			}
		})
	}
	both.Wait()
	if took, least := time.Since(begun), time.Duration(6*(1+leastPause)*float64(5*time.Millisecond)); took < least {
		t.Errorf("took %v, want %v at least", took, least)
	}

	x := &projection{pace: p, rules: rules{{1, 0, &schema{version: "broken"}}}}
	if judged := len(x.judge(t.Context(), make([]inbox.Entry, 3))); judged != 3 {
		t.Errorf("%d of 3 messages were judged", judged)
	}
}
