package projector

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"orderbox/inbox"
	"orderbox/publisher"
)

// seeds are the model, what is no JSON, and a message of every kind that the publisher knows.
func seeds(tb testing.TB) [][]byte {
	tb.Helper()
	all := [][]byte{mustModelFile(tb), []byte(`{"tags":{"a\u0000/b":5},"x\u0000":1}`)}
	for _, name := range slices.Sorted(maps.Keys(hostile)) {
		if len(hostile[name]) < 2000 {
			all = append(all, []byte(hostile[name]))
		}
	}
	kinds := map[string]bool{}
	for m := range publisher.Messages(3, 1000, 0.7) {
		if !kinds[m.Kind] && len(m.Payload) < 4000 {
			kinds[m.Kind] = true
			all = append(all, m.Payload)
		}
	}
	return all
}

// Law 3: whatever the bytes are, there is one verdict, the same each time, which can be stored; and what is
// served of an order is that order.
func FuzzJudge(f *testing.F) {
	builtIn, loose := mustSchema(f), newLooseSchema(f)
	for _, payload := range seeds(f) {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		mustBeOneVerdict(t, builtIn, payload)
		mustBeOneVerdict(t, loose, payload)
		if dead := builtIn.judge(inbox.Entry{Payload: payload}).dead; dead != nil && dead.reason == reasonInvalid {
			mustPointThere(t, payload, dead)
		}
	})
}

func mustBeOneVerdict(t *testing.T, s *schema, payload []byte) {
	t.Helper()
	before := bytes.Clone(payload)
	j := s.judge(inbox.Entry{Position: 1, Payload: payload})
	if !bytes.Equal(payload, before) {
		t.Fatalf("judging %q changed it", before)
	}
	if again := s.judge(inbox.Entry{Position: 1, Payload: before}); !reflect.DeepEqual(j, again) {
		t.Fatalf("judged twice: %+v, %+v", j, again)
	}
	if s.shortcut != nil {
		mustGoTheLongWayToo(t, s, payload)
	}
	if (j.dead == nil) == (j.order == nil) {
		t.Fatalf("not exactly one verdict: %+v", j)
	}
	if j.dead != nil {
		mustBeStorable(t, j.dead)
		return
	}
	served := j.order.JSON()
	again := s.judge(inbox.Entry{Position: 1, Payload: served})
	if again.dead != nil || !reflect.DeepEqual(j, again) {
		t.Fatalf("what is served of %q, %q, is judged otherwise: %+v", payload, served, again.dead)
	}
}

// mustBeStorable fails for a dead letter that PostgreSQL would not take.
func mustBeStorable(t *testing.T, dead *deadLetter) {
	t.Helper()
	texts := append(dead.places(), dead.sentence)
	for _, v := range dead.violations {
		texts = append(texts, v.Pointer, v.Keyword, v.Message)
	}
	for _, text := range texts {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) || len(text) > 1000 {
			t.Fatalf("cannot be stored: %q", text)
		}
	}
	known := dead.reason == reasonMalformed || dead.reason == reasonInvalid
	if n := len(dead.violations); n < 1 || n > maxViolations || !known {
		t.Fatalf("%d violations, reason %s", n, dead.reason)
	}
}

// mustPointThere fails for a violation of the built-in schema whose pointer leads nowhere in the message.
func mustPointThere(t *testing.T, payload []byte, dead *deadLetter) {
	t.Helper()
	value, _ := parse(payload)
	for _, v := range dead.violations {
		at := strings.LastIndex(v.Pointer, "/")
		if at < 0 {
			continue // the whole
		}
		name := v.Pointer[at+1:]
		switch parent := lookup(value, v.Pointer[:at]).(type) {
		case map[string]any:
			if _, there := parent[name]; there == (v.Keyword == "required") {
				t.Fatalf("%s is wrong with %s in %q, where it is: %t", v.Keyword, v.Pointer, payload, there)
			}
		case []any:
			if n, err := strconv.Atoi(name); err != nil || n >= len(parent) {
				t.Fatalf("%s is not in %q", v.Pointer, payload)
			}
		default:
			t.Fatalf("%s is not in %q", v.Pointer, payload)
		}
	}
}

// Made without the code under test: what may stand in a reproducer beside made-up data.
var (
	spelling = regexp.MustCompile(`\\u[0-9a-fA-F]{4}|\\[a-z]|\b(true|false|null)\b`)
	word     = regexp.MustCompile(`[\p{L}\p{N}]{4,}`)
	madeUp   = regexp.MustCompile(`[xXяe019]`)
)

// A reproducer fails as its message does and says nothing that the message says.
func FuzzReproducer(f *testing.F) {
	p, err := New(nil, nil, Options{})
	if err != nil {
		f.Fatal(err)
	}
	for _, payload := range seeds(f) {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > 3000 {
			t.Skip("takes long")
		}
		dead := p.schema.judge(inbox.Entry{Payload: payload}).dead
		source, err := p.Reproducer("1", payload)
		switch {
		case (dead == nil) != errors.Is(err, ErrReproducesNothing):
			t.Fatalf("%v of %q", err, payload)
		case err == nil:
			mustReproduce(t, p.schema, payload, mustReproducer(t, source), dead)
		case !errors.Is(err, ErrReproducesNothing) && !errors.Is(err, ErrTellsTooMuch):
			t.Fatal(err)
		}
	})
}

// mustReproducer returns the payload in a reproducer's source.
func mustReproducer(t *testing.T, source []byte) string {
	t.Helper()
	if _, err := parser.ParseFile(token.NewFileSet(), "", source, 0); err != nil {
		t.Fatalf("%v\n%s", err, source)
	}
	_, line, _ := strings.Cut(string(source), "const payload = ")
	line, _, _ = strings.Cut(line, "\n")
	payload, err := strconv.Unquote(line)
	if err != nil {
		t.Fatalf("%v\n%s", err, source)
	}
	return payload
}

func mustReproduce(t *testing.T, s *schema, payload []byte, small string, dead *deadLetter) {
	t.Helper()
	again := s.judge(inbox.Entry{Payload: []byte(small)}).dead
	if again == nil || complaint(again) != complaint(dead) {
		t.Fatalf("%q does not fail as %q does, by %s: %+v", small, payload, complaint(dead), again)
	}
	for _, w := range word.FindAllString(spelling.ReplaceAllString(small, " "), -1) {
		rest := madeUp.ReplaceAllString(w, "")
		if len([]rune(rest)) >= 4 && strings.Contains(string(payload), w) && !bytes.Contains(orderSchema, []byte(w)) {
			t.Fatalf("%q is in %q, made from %q", w, small, payload)
		}
	}
}

// Numbers are compared with the schema's bounds exactly, however they are spelt, and fit where they passed.
func FuzzNumber(f *testing.F) {
	for _, n := range []string{"0", "-0", "5.0", "50e-1", "1e18", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
		"0.1e1", "92233720368547758070e-1", "1e400", "00", "5.", "0e99999999999999999999", "-0.0E+0"} {
		f.Add(n)
	}
	s := mustSchema(f)
	f.Fuzz(func(t *testing.T, spelt string) {
		if strings.ContainsAny(spelt, `,"{}[]`) {
			t.Skip("more than a number")
		}
		j := s.judge(inbox.Entry{Payload: mustSpell(t, "/sm_id", spelt)})
		want, ok := exactly(spelt)
		if ok != (j.dead == nil) {
			t.Fatalf("%q: integer %t, %+v", spelt, ok, j.dead)
		}
		if ok && j.order.SmID != want {
			t.Fatalf("%q is %d, want %d", spelt, j.order.SmID, want)
		}
	})
}

// mustSpell is the reference order with a value spelt as it is given, be it JSON or not.
func mustSpell(tb testing.TB, pointer, spelt string) []byte {
	tb.Helper()
	const mark = `"\u0001 here \u0001"`
	payload := mustVary(tb, pointer, json.RawMessage(mark))
	return bytes.Replace(payload, []byte(mark), []byte(spelt), 1)
}

var decimal = regexp.MustCompile(`^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$`)

// exactly reads a number by moving its decimal point by hand, and says whether it is an integer of 64 bits
// within the bounds on numbers.
func exactly(spelt string) (n int64, ok bool) {
	m := decimal.FindStringSubmatch(strings.Trim(spelt, " \t\r\n"))
	if m == nil || len(strings.Trim(spelt, " \t\r\n")) > maxNumber {
		return 0, false
	}
	exponent, err := strconv.Atoi("0" + strings.TrimLeft(m[4], "+-"))
	if err != nil || exponent > maxExponent {
		return 0, false
	}
	if strings.HasPrefix(m[4], "-") {
		exponent = -exponent
	}
	digits := m[2] + m[3]
	point := len(m[2]) + exponent
	digits = strings.Repeat("0", max(0, -point)) + digits
	point = max(0, point)
	digits += strings.Repeat("0", max(0, point-len(digits)))
	if strings.Trim(digits[point:], "0") != "" {
		return 0, false
	}
	n, err = strconv.ParseInt(m[1]+"0"+digits[:point], 10, 64)
	return n, err == nil
}
