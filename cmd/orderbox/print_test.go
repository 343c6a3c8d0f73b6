package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"

	"orderbox/internal/cli"
	"orderbox/internal/verify"
)

// obeyed is what terminals take for an order to them: escapes of both kinds, what moves the cursor, what turns the direction.
const obeyed = "\x1b[2J\x1b]0;owned\x07\u009b31m\r\b\x7f\u202e\u2028\U000e0041"

func mustBeObeyedByNobody(t *testing.T, printed string) {
	t.Helper()
	if at := strings.IndexFunc(printed, func(c rune) bool { return c != '\n' && !unicode.IsGraphic(c) }); at >= 0 {
		t.Errorf("a terminal obeys %q", printed[at:min(len(printed), at+20)])
	}
}

func TestATerminalObeysNoMessage(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	text := "before" + obeyed
	faults := []verify.Violation{{Pointer: text, Message: text}}
	v := verify.Verdict{Kind: text, OrderUID: text, Reason: text, State: text}
	d := verify.Diff{At: 1}
	d.Orders.Appear, d.DeadLetters.Arise = 1, 1
	d.Examples.Orders.Appear = []verify.OrderExample{{OrderUID: text, Before: 1, After: 2, Fields: []verify.FieldDiff{{Path: text}, {Path: text, Before: &text}}}}
	d.Examples.DeadLetters.Arise = []verify.MessageExample{{Position: 1, Before: v, After: v, Went: faults, Came: faults}}
	if err := printChange(&b, newChange(d)); err != nil {
		t.Fatal(err)
	}
	deep := &deepReport{Served: &servedReport{Examples: []string{text}}, Diff: d}
	if err := printReport(&b, verified{Report: verify.Report{}, Deep: deep}); err != nil {
		t.Fatal(err)
	}
	l := letter{Reason: text, State: text, Sentence: text, Help: text, Source: text, Channel: text, SchemaVersion: text, OrderUID: text,
		Violations: []violation{{text, text, text}}, History: []pastDecision{{Kind: text, By: text, Note: text, Entry: 1, Outcome: text, OrderUID: text, Sentence: text}}}
	b.Write(l.page())
	object, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	table := letterTable{out: &b}
	row, err := json.Marshal(map[string]any{"state": text, "reason": text, "sentence": text, "violations": []violation{{text, text, text}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{printLines(&b, []json.RawMessage{object}), printJSON(&b, d), table.print([]json.RawMessage{row})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	mustBeObeyedByNobody(t, b.String())
	if n := strings.Count(b.String(), "before"); n < 20 {
		t.Errorf("%d texts were printed: does this test still print them?", n)
	}
}

func TestATerminalObeysNoLog(t *testing.T) {
	t.Parallel()
	text := "before" + obeyed
	for _, format := range []string{"text", "json"} {
		var b bytes.Buffer
		log := logFlags{LogFormat: format}.logger(cli.Streams{Err: &b})
		log.With(text, text).WithGroup("group").Warn(text, text, text, "error", errors.New(text))
		mustBeObeyedByNobody(t, b.String())
		if n := strings.Count(b.String(), "before"); n < 6 || strings.Count(b.String(), "\n") != 1 {
			t.Errorf("%s: %d texts in %q", format, n, b.String())
		}
		var got map[string]any
		if format == "json" && (json.Unmarshal(b.Bytes(), &got) != nil || got["msg"] != text || got[text] != text) {
			t.Errorf("it is other JSON: %q", b.String())
		}
	}
}

func TestWhatIsEscapedIsTheSameJSON(t *testing.T) {
	t.Parallel()
	want := []string{obeyed, "Żółć 💥 e\u0301", "\u200d"}
	object, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	var got []string
	if err := printLines(&b, []json.RawMessage{object}); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}
