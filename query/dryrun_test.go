package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"orderbox/internal/testservers"
)

// replayer stands in for what a program gives: it says what it was asked, and waits to be told what came of it.
type replayer struct {
	schemas chan string
	done    chan error // of what runs
	change  Change
	now     chan Replay // how the replay goes; the last one stays
}

func newReplayer() *replayer {
	return &replayer{schemas: make(chan string, 10), done: make(chan error), now: make(chan Replay, 1), change: Change{At: 7, Details: noChange}}
}

func (r *replayer) replays() *Replays {
	wait := func(ctx context.Context) error {
		select {
		case err := <-r.done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return &Replays{
		Order: func(context.Context) (string, error) { return "generation_2", nil },
		Progress: func(context.Context) (Replay, error) {
			now := <-r.now
			r.now <- now
			return now, nil
		},
		Changed: func(context.Context) (Change, error) { return r.change, nil },
		Try: func(schema []byte) (func(context.Context, func(int64, int64)) (Change, error), error) {
			if string(schema) == "rubbish" {
				return nil, Refusal{"This is no JSON Schema <b>."}
			}
			r.schemas <- string(schema)
			return func(ctx context.Context, progress func(int64, int64)) (Change, error) {
				progress(1234, 5678)
				return r.change, wait(ctx)
			}, nil
		},
		Ramp: func(ctx context.Context, by string, ramp Ramp, wave func(Wave)) error {
			if by != "ann" {
				return errors.New("nobody")
			}
			if ramp.Reason == "" {
				return nil
			}
			wave(Wave{Orders: 1})
			wave(Wave{Orders: 1, Refused: 2})
			return wait(ctx)
		},
	}
}

func newReplaying(t *testing.T) (*replayer, *Server) {
	t.Helper()
	r := newReplayer()
	r.now <- Replay{InService: "generation_1"}
	return r, newRunning(t, newProjection(t), Options{Tokens: []Token{{"ann", "right"}}, Replays: r.replays()})
}

func replayPost(t *testing.T, s *Server, path, text string) *http.Response {
	t.Helper()
	kind := "application/json"
	if !strings.HasPrefix(path, "/api/") {
		kind = "application/x-www-form-urlencoded"
	}
	return post(t, s, path, text, "Authorization", "Bearer right", "Content-Type", kind)
}

// awaitErrand waits until an errand is in a state, and returns its report.
func awaitErrand(t *testing.T, s *Server, what, state string) (r report[json.RawMessage]) {
	t.Helper()
	testservers.Eventually(t, what+" is "+state, func() bool {
		r = mustDecode[report[json.RawMessage]](t, http.StatusOK, operatorGet(t, s, "/api/v1/replay/"+what))
		return r.State == state
	})
	return r
}

func page(t *testing.T, s *Server) string {
	t.Helper()
	return string(body(t, http.StatusOK, operatorGet(t, s, "/replay")))
}

func mustContain(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}

func TestADryRunIsBegunWatchedAndRead(t *testing.T) {
	t.Parallel()
	r, s := newReplaying(t)
	before, after := "1", "<b>2"
	r.change = Change{At: 5678, Details: noChange, Counts: []ChangeCount{{"orders", []ChangePart{{1200, "appear"}, {0, "vanish"}}}},
		Examples: []ChangeExample{
			{Order: "a/b", Stays: true, What: "changes, from message 3", Fields: []ChangeField{{"/payment/amount", &before, &after}, {"/x", nil, &before}}, More: 3},
			{Order: "c", What: "appears, from message 5"},
			{Message: 12, DeadLetter: true, What: "is resolved", Violations: []ChangeViolation{{"/payment/amount", "must be an integer", false}, {"", "is cut", true}}},
		}}
	awaitErrand(t, s, "dry-run", errandNone)
	mustDecode[report[json.RawMessage]](t, http.StatusAccepted, replayPost(t, s, "/api/v1/replay/dry-run", `{"type": "object"}`))
	if schema := <-r.schemas; schema != `{"type": "object"}` {
		t.Errorf("tried by %s", schema)
	}
	testservers.Eventually(t, "there is progress", func() bool { return awaitErrand(t, s, "dry-run", errandRunning).Position == 1234 })
	if now := awaitErrand(t, s, "dry-run", errandRunning); now.By != "ann" || now.Head != 5678 || now.Rate <= 0 || now.SecondsLeft <= 0 || now.Result != nil {
		t.Errorf("report %+v", now)
	}
	mustContain(t, page(t, s), `id="tried" class="live" data-live="running"`, "position 1,234 of 5,678", "messages a second", "left", `max="5678" value="1234"`, "/replay/dry-run/cancel")
	for path, text := range map[string]string{"/api/v1/replay/dry-run": "", "/replay/dry-run": ""} {
		if again := replayPost(t, s, path, text); again.StatusCode != http.StatusConflict && again.StatusCode != http.StatusBadRequest {
			t.Errorf("a second one at %s: %d", path, again.StatusCode)
		}
	}
	r.done <- nil
	if now := awaitErrand(t, s, "dry-run", errandDone); now.Result == nil || !strings.HasPrefix(string(*now.Result), `{"from":`) || now.Ended == nil {
		t.Errorf("report %+v", now)
	}
	mustContain(t, page(t, s), "Compared up to position 5,678", "<strong>1,200</strong> appear", `href="/orders/a%2Fb"`, "changes, from message 3",
		"/payment/amount", "&lt;b&gt;2", "nothing", "and 3 more", `href="/dead-letters/12"`, "no longer", "must be an integer", "the whole message", "is cut")
	if text := page(t, s); strings.Contains(text, "vanish") || strings.Contains(text, `href="/orders/c"`) {
		t.Error("the page says what does not change, or leads to an order that is not there")
	}
}

func TestADryRunIsCancelledRefusedAndFails(t *testing.T) {
	t.Parallel()
	r, s := newReplaying(t)
	if got := mustDecode[problem](t, http.StatusBadRequest, replayPost(t, s, "/api/v1/replay/dry-run", "rubbish")); !strings.Contains(got.Detail, "no JSON Schema") {
		t.Errorf("%+v", got)
	}
	if got := replayPost(t, s, "/api/v1/replay/dry-run/cancel", ""); got.StatusCode != http.StatusConflict {
		t.Errorf("cancel none: %d", got.StatusCode)
	}
	body(t, http.StatusAccepted, replayPost(t, s, "/api/v1/replay/dry-run", ""))
	if schema := <-r.schemas; schema != "" {
		t.Errorf("tried by %s", schema)
	}
	if got := replayPost(t, s, "/replay/dry-run/cancel", ""); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/replay#dry-run" {
		t.Errorf("cancel: %d to %s", got.StatusCode, got.Header.Get("Location"))
	}
	awaitErrand(t, s, "dry-run", errandCancelled)
	mustContain(t, page(t, s), "cancelled")
	mustContain(t, string(body(t, http.StatusConflict, replayPost(t, s, "/replay/dry-run/cancel", ""))), "No dry run is under way", `href="/replay"`)
	for reason, err := range map[string]error{"Nothing is in service": Refusal{"Nothing is in service"}, "log says why": errors.New("secret")} {
		body(t, http.StatusAccepted, replayPost(t, s, "/api/v1/replay/dry-run", ""))
		r.done <- err
		if now := awaitErrand(t, s, "dry-run", errandFailed); !strings.Contains(now.Problem, reason) || strings.Contains(now.Problem, "secret") {
			t.Errorf("report %+v", now)
		}
		mustContain(t, page(t, s), reason)
	}
	body(t, http.StatusAccepted, replayPost(t, s, "/api/v1/replay/dry-run", ""))
	r.done <- nil
	awaitErrand(t, s, "dry-run", errandDone)
	mustContain(t, page(t, s), "Nothing changes: every row is the same")
}

func TestASchemaIsUploaded(t *testing.T) {
	t.Parallel()
	r, s := newReplaying(t)
	for name, schema := range map[string]string{"schema.json": `{"x": 1}`, "": ""} { // none was chosen
		var form bytes.Buffer
		m := multipart.NewWriter(&form)
		file, err := m.CreateFormFile("schema", name)
		if err == nil {
			_, err = file.Write([]byte(schema))
		}
		if err := errors.Join(err, m.Close()); err != nil {
			t.Fatal(err)
		}
		got := post(t, s, "/replay/dry-run", form.String(), "Authorization", "Bearer right", "Content-Type", m.FormDataContentType())
		if got.StatusCode != http.StatusSeeOther {
			t.Fatalf("%q: %d", name, got.StatusCode)
		}
		if tried := <-r.schemas; tried != schema {
			t.Errorf("%q: tried by %q", name, tried)
		}
		r.done <- nil
		awaitErrand(t, s, "dry-run", errandDone)
	}
	large := post(t, s, "/api/v1/replay/dry-run", strings.Repeat(" ", maxSchema+1), "Authorization", "Bearer right")
	if large.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a large one: %d", large.StatusCode)
	}
}

func TestWavesAreWatchedAndStop(t *testing.T) {
	t.Parallel()
	r, s := newReplaying(t)
	body(t, http.StatusAccepted, replayPost(t, s, "/api/v1/replay/dead-letters", `{}`))
	awaitErrand(t, s, "dead-letters", errandDone)
	mustContain(t, page(t, s), "Nothing was done:")

	form := "reason=invalid&place=%2Fpayment%2Famount&text=%D1%91+b&since=2026-11-20T10:20&until=2026-11-21T10:20:30&from=3&to=&note=n&percent=12.5"
	if got := replayPost(t, s, "/replay/dead-letters", form); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/replay#waves" {
		t.Fatalf("%d, to %s", got.StatusCode, got.Header.Get("Location"))
	}
	var so ramped
	testservers.Eventually(t, "there are two waves", func() bool {
		now := awaitErrand(t, s, "dead-letters", errandRunning)
		return now.Result != nil && json.Unmarshal(*now.Result, &so) == nil && so.Count == 2
	})
	if so.Reason != "invalid" || *so.Place != "/payment/amount" || so.Text != "ё b" || so.From != 3 || so.MaxRefused != .125 || so.Note != "n" || so.Waves[1] != (Wave{Orders: 1, Refused: 2}) {
		t.Errorf("%+v", so)
	}
	mustContain(t, page(t, s), `id="waved" class="live" data-live="running"`, "Retrying", "reason invalid that fail at /payment/amount whose text has &#34;ё b&#34; "+
		"received since 20 Nov 2026, 10:20:00 UTC received before 21 Nov 2026, 10:20:30 UTC from position 3", `data-label="Refused again" class="number">2<`)
	r.done <- Refusal{"too many were refused again: 2 of 3"}
	awaitErrand(t, s, "dead-letters", errandFailed)
	mustContain(t, page(t, s), "It stopped: too many were refused again: 2 of 3", `data-label="Retried" class="number">3<`)

	for _, wrong := range []string{`{"place": "x"}`, `{"from": -1}`, `{"from": 3, "to": 2}`, `{"max_refused": 2}`, `{"max_refused": -0.1}`, `{"raeson": ""}`, `{"reason": "\u0000"}`, `{"text": "\u0000"}`,
		`{"since": "2026-11-21T00:00:00Z", "until": "2026-11-20T00:00:00Z"}`, `{"state": "open"}`} {
		if got := replayPost(t, s, "/api/v1/replay/dead-letters", wrong); got.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", wrong, got.StatusCode)
		}
	}
	set := string(body(t, http.StatusOK, operatorGet(t, s, "/replay?place=whole&text=%D1%91+b&since=2026-11-20T10:20:00Z&until=2026-11-21T10:20")))
	mustContain(t, set, `value="whole"`, `value="ё b"`, `value="2026-11-20T10:20:00"`, `value="2026-11-21T10:20:00"`)
	if strings.Contains(set, `id="state"`) {
		t.Error("waves are offered for other states than open")
	}
	for filter, link := range map[string]string{"reason=invalid&place=/x": "/replay?place=%2Fx&reason=invalid#waves", "text=x&since=2026-11-20T10:20": "/replay?since=2026-11-20T10%3A20%3A00&text=x#waves",
		"place=whole": "/replay?place=whole#waves", "state=any": "", "state=open": "/replay?#waves"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/dead-letters?"+filter, nil)
		p, err := parseParams(r, filterNames...)
		if err != nil || p.ofForm().wavesLink() != link {
			t.Errorf("%s leads to %q, %v", filter, p.ofForm().wavesLink(), err)
		}
	}
}

func TestAReplayThatDidNothingSaysSo(t *testing.T) {
	t.Parallel()
	r, s := newReplaying(t)
	<-r.now
	r.now <- Replay{Generation: "generation_2", InService: "generation_1", Position: 10, Head: 100}
	body(t, http.StatusOK, replayPost(t, s, "/api/v1/replay/order", ""))
	awaitErrand(t, s, "changes", errandRunning)
	if strings.Contains(page(t, s), "Nothing changes") {
		t.Error("it is said too early")
	}
	body(t, http.StatusOK, replayPost(t, s, "/api/v1/replay/order", "")) // anew, while that one is watched
	awaitErrand(t, s, "changes", errandRunning)
	<-r.now
	r.now <- Replay{InService: "generation_2", Previous: "generation_1"}
	awaitErrand(t, s, "changes", errandDone)
	mustContain(t, page(t, s), "What the last replay changed", "Nothing changes: every row is the same")

	body(t, http.StatusOK, replayPost(t, s, "/api/v1/replay/order", ""))
	if now := awaitErrand(t, s, "changes", errandDone); now.By != "ann" { // generation_2 is in service
		t.Errorf("report %+v", now)
	}
	<-r.now
	r.now <- Replay{InService: "generation_3"}
	body(t, http.StatusOK, replayPost(t, s, "/api/v1/replay/order", ""))
	if now := awaitErrand(t, s, "changes", errandFailed); !strings.Contains(now.Problem, "given up") {
		t.Errorf("report %+v", now)
	}
}

func TestErrandsEndWithTheServer(t *testing.T) {
	t.Parallel()
	r := newReplayer()
	s := newServer(t, newProjection(t), Options{Tokens: []Token{{"ann", "right"}}, Replays: r.replays()})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	body(t, http.StatusAccepted, replayPost(t, s, "/api/v1/replay/dry-run", ""))
	testservers.Eventually(t, "it runs", func() bool { return awaitErrand(t, s, "dry-run", errandRunning).Position > 0 })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	awaitErrand(t, s, "dry-run", errandCancelled)
}

// A time of day says nothing of how long something takes: the clock may have stepped back since.
func TestThePaceOfAnErrandOutlivesAClockThatJumps(t *testing.T) {
	t.Parallel()
	starts := make(chan func(context.Context), 1)
	e := newErrand[Change](starts, slog.New(slog.DiscardHandler))
	told, end := make(chan bool), make(chan bool)
	err := e.start("somebody", func(_ context.Context, tell func(func(*report[Change]))) error {
		tell(func(r *report[Change]) {
			r.Position, r.Head = 50, 100
			ahead := r.Began.Add(24 * time.Hour)
			r.Began = &ahead
		})
		close(told)
		<-end
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	defer group.Wait()
	defer close(end)
	group.Go(func() { (<-starts)(t.Context()) })
	<-told
	if now := e.now(); now.Rate <= 0 || now.SecondsLeft <= 0 || now.SecondsLeft > 3600 {
		t.Errorf("%+v", now.pace)
	}
}

func TestThePaceOfAReplayIsThatOfTheLastSeconds(t *testing.T) {
	t.Parallel()
	var p pacer
	start := time.Unix(1000, 0)
	see := func(generation string, position int64, after time.Duration) pace {
		return p.see(generation, position, 10_000, start.Add(after))
	}
	if got := see("g1", 4000, 0); got != (pace{}) || got.text() != nil {
		t.Errorf("first seen: %+v", got)
	}
	if got := see("g1", 5000, 5*time.Second); got != (pace{200, 25}) || english(t, got.text()) != "200 messages a second, about 25s left" {
		t.Errorf("then: %+v", got)
	}
	see("g1", 6000, 11*time.Second)
	see("g1", 6100, 22*time.Second)
	if got := see("g1", 6200, 32*time.Second); got.Rate < 9 || got.Rate > 11 {
		t.Errorf("slowed down: %+v", got)
	}
	if got := see("g2", 100, 40*time.Second); got != (pace{}) {
		t.Errorf("another one: %+v", got)
	}
}
