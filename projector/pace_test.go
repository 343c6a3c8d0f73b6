package projector

import (
	"strings"
	"testing"
	"time"
)

func TestAReplaySlowsDownWhenOthersSufferAndSpeedsUpAgain(t *testing.T) {
	t.Parallel()
	p := newPace()
	for range 50 {
		p.learn(4*time.Millisecond, 10*time.Millisecond)
	}
	if status := p.adjust(7*time.Millisecond, 150*time.Millisecond); status != "" || p.pause != 0 {
		t.Errorf("within bounds: %q, pause %v", status, p.pause)
	}
	before := time.Duration(0)
	for range 20 {
		status := p.adjust(20*time.Millisecond, 0)
		if !strings.Contains(status, "the lookups' p99 is 20ms, 5.0 times its idle value") {
			t.Fatalf("not said: %q", status)
		}
		if p.pause < before || p.pause > longestPause {
			t.Fatalf("pause %v after %v", p.pause, before)
		}
		before = p.pause
	}
	if before != longestPause {
		t.Errorf("pauses %v at most", before)
	}
	if status := p.adjust(4*time.Millisecond, time.Second); !strings.Contains(status, "the ingest lag is 1s, 10.0 times") {
		t.Errorf("the lag is not said: %q", status)
	}
	for range 20 {
		p.adjust(4*time.Millisecond, 0)
	}
	if p.pause != 0 {
		t.Errorf("still pauses %v", p.pause)
	}
}
