package projector

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"orderbox/inbox"
	"orderbox/publisher"
)

func TestAReproducerFailsTheSameWithNothingOfTheMessageInIt(t *testing.T) {
	t.Parallel()
	h, err := New(nil, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	personal := []string{"Testov", "9720000000", "Mozkin", "Ploshad", "gmail", "b563feb7", "2639809"}
	payloads := map[string][]byte{
		"decimal string": mustVary(t, "/payment/amount", "18.17"),
		"no e-mail":      mustVary(t, "/delivery/email", "Testov"),
		"U+0000":         mustVary(t, "/delivery/name", "Test\x00Testov"),
		"30 February":    mustVary(t, "/date_created", "2021-02-30T00:00:00Z"),
		"beyond 64 bits": mustVary(t, "/items/0/nm_id", json.RawMessage("9223372036854775808")),
		"no items":       mustVary(t, "/items", []any{}),
		"unknown fields": mustVary(t, "/delivery/phone", nil),
		"truncated":      []byte(strings.Replace(string(mustModelFile(t)), `"locale"`, `"loc`, 1)),
		"invalid UTF-8":  []byte(strings.Replace(string(mustModelFile(t)), "Testov", "Testov\xff", 1)),
		"duplicate key":  []byte(strings.Replace(string(mustModelFile(t)), `"locale"`, `"entry": "Testov", "locale"`, 1)),
		"empty":          nil,
	}
	for m := range publisher.Messages(51, 300, 0.5) {
		if m.Verdict == string(reasonInvalid) || m.Verdict == string(reasonMalformed) {
			payloads[m.Kind] = m.Payload
		}
	}
	for name, payload := range payloads {
		source, err := h.Reproducer("1", payload)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := parser.ParseFile(token.NewFileSet(), "", source, 0); err != nil {
			t.Errorf("%s: %v\n%s", name, err, source)
		}
		_, line, _ := strings.Cut(string(source), "const payload = ")
		line, _, _ = strings.Cut(line, "\n")
		small, err := strconv.Unquote(line)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, source)
		}
		want := complaint(h.schema.judge(inbox.Entry{Payload: payload}).dead)
		if dead := h.schema.judge(inbox.Entry{Payload: []byte(small)}).dead; dead == nil || complaint(dead) != want {
			t.Errorf("%s: %s does not fail by %s", name, small, want)
		}
		if len(small) > len(payload) {
			t.Errorf("%s: %d bytes became %d", name, len(payload), len(small))
		}
		for _, text := range personal {
			if strings.Contains(small, text) {
				t.Errorf("%s: %q is in %s", name, text, small)
			}
		}
	}
	if _, err := h.Reproducer("1", mustModelFile(t)); err != ErrReproducesNothing {
		t.Errorf("of an order: %v", err)
	}
}
