package retry

import "testing"

func TestAPortionIsHalvedByFailuresAndGrowsAgain(t *testing.T) {
	var p Portion
	want := func(what string, n int) {
		t.Helper()
		if got := p.Of(2000); got != n {
			t.Errorf("%s: %d of 2000, want %d", what, got, n)
		}
	}
	want("at first", 2000)
	p.Failed()
	p.Failed()
	want("after two failures", 500)
	for range growAfter - 1 {
		p.Worked()
	}
	want("before enough has worked", 500)
	p.Worked()
	want("after that", 1000)
	for range 100 {
		p.Failed()
	}
	want("when nothing works", 1)
	for range 100 * growAfter {
		p.Worked()
	}
	want("when all is well", 2000)
}
