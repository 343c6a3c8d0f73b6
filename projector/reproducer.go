package projector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"orderbox/inbox"
)

// ErrReproducesNothing says that a message is no dead letter by this program's schema.
var ErrReproducesNothing = errors.New("by this program's schema the message is an order: there is nothing to reproduce")

// ErrTellsTooMuch says that what makes a message fail could not be told from what it says of somebody.
var ErrTellsTooMuch = errors.New("no reproducer was found that says nothing of what the message says")

// maxAttempts bounds how often a message is judged on the way to its reproducer.
const maxAttempts = 20_000

// Reproducer returns the source of a Go test of this package which fails as a message does, with as little of
// the message as that takes, and with made-up data of the same shape in the place of its own, or
// ErrTellsTooMuch. name becomes a part of the test's name. It is the same for the same message. It asks nobody:
// that of New(nil, nil, Options{}) will do.
func (p *Projector) Reproducer(name string, payload []byte) ([]byte, error) {
	dead := p.schema.judge(inbox.Entry{Payload: payload}).dead
	if dead == nil {
		return nil, ErrReproducesNothing
	}
	r := reproduction{schema: p.schema, want: complaint(dead), left: maxAttempts}
	small, tells := payload, true
	if dead.reason == reasonMalformed {
		small = r.smallText(payload)
		tells = tellsJSON(string(small))
	} else if value, fault := parse(payload); fault == nil {
		small, value = r.smallValue(value)
		tells = tellsValue(value, names(p.schema.document, map[string]bool{}))
	}
	if tells {
		return nil, ErrTellsTooMuch
	}
	return fmt.Appendf(nil, reproducerTest, name, fmt.Sprintf("%q", small), r.want), nil
}

const reproducerTest = `package projector

import (
	"testing"

	"orderbox/inbox"
)

// Made from a dead letter; its data is made up.
func TestReproducesDeadLetter%s(t *testing.T) {
	const payload = %s
	const want = %q
	dead := mustSchema(t).judge(inbox.Entry{Position: 1, Payload: []byte(payload)}).dead
	if dead == nil {
		t.Fatal("it is an order now")
	}
	if got := complaint(dead); got != want {
		t.Errorf("%%s\nwant\n%%s", got, want)
	}
}
`

// complaint is what is wrong with a message, without where exactly: what a reproducer must have in common.
func complaint(dead *deadLetter) string {
	if dead.reason == reasonMalformed {
		return dead.violations[0].Message
	}
	var all []string
	for _, v := range dead.violations {
		single := deadLetter{reason: dead.reason, violations: []violation{v}}
		all = append(all, single.places()[0]+" "+v.Keyword)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

// reproduction is the search for a small message that is refused like another.
type reproduction struct {
	schema *schema
	want   string
	left   int // attempts
}

// fails says whether a payload fails in the same way.
func (r *reproduction) fails(payload []byte) bool {
	if r.left--; r.left < 0 {
		return false
	}
	dead := r.schema.judge(inbox.Entry{Payload: payload}).dead
	return dead != nil && complaint(dead) == r.want
}

// smallText disguises what is no JSON, leaves out ever smaller parts of it, and disguises what was left.
func (r *reproduction) smallText(text []byte) []byte {
	for _, other := range []string{disguiseJSON(string(text)), disguise(string(text))} {
		if r.fails([]byte(other)) {
			text = []byte(other)
			break
		}
	}
	text = r.piecewise(text, func([]byte) []byte { return nil })
	return r.piecewise(text, func(piece []byte) []byte { return []byte(disguiseJSON(string(piece))) })
}

// piecewise changes ever smaller pieces of a text, wherever it still fails.
func (r *reproduction) piecewise(text []byte, change func(piece []byte) []byte) []byte {
	for size := len(text); size > 0; size /= 2 {
		for at := 0; at < len(text); {
			end := min(at+size, len(text))
			for end < len(text) && !utf8.RuneStart(text[end]) {
				end++
			}
			other := change(text[at:end])
			if bytes.Equal(other, text[at:end]) {
				at = end
			} else if without := slices.Concat(text[:at], other, text[end:]); r.fails(without) {
				text, at = without, at+len(other)
			} else {
				at = end
			}
		}
	}
	return text
}

// smallValue leaves out fields and entries, and disguises the values that are left. What it returns is one
// value, as bytes and parsed.
func (r *reproduction) smallValue(root any) ([]byte, any) {
	v := shrinking{r: r, root: root}
	set := func(other any) { v.root = other }
	if v.replace(root, set, disguised(root, "1"), disguised(root, "9")) {
		root = v.root
	}
	v.visit(root, set)
	return v.encoded(), v.root
}

// shrinking is a value on its way to a small one that fails in the same way.
type shrinking struct {
	r    *reproduction
	root any
}

func (v *shrinking) encoded() []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v.root); err != nil {
		return nil // what was parsed encodes
	}
	return bytes.TrimSpace(b.Bytes())
}

func (v *shrinking) fails() bool { return v.r.fails(v.encoded()) }

// visit makes a value as small and as made-up as it may be; set puts another in its place.
func (v *shrinking) visit(value any, set func(any)) {
	switch value := value.(type) {
	case map[string]any:
		if !v.replace(value, set, map[string]any{}) {
			v.visitObject(value)
		}
	case []any:
		if !v.replace(value, set, []any{}) {
			v.visitArray(value, set)
		}
	case string:
		if !v.replace(value, set, disguise(value), "") {
			v.byRune(value, set)
		}
	case json.Number:
		v.replace(value, set, json.Number("0"), json.Number("1"), json.Number("-1"), disguisedNumber(value, "1"), disguisedNumber(value, "9"))
	}
}

func (v *shrinking) visitObject(object map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		kept := object[name]
		if delete(object, name); v.fails() {
			continue
		}
		object[name] = kept
		v.visit(kept, func(other any) { object[name] = other })
	}
}

func (v *shrinking) visitArray(array []any, set func(any)) {
	for size := len(array); size > 0; size /= 2 {
		for end := len(array); end > 0; end -= size {
			begin := max(0, end-size)
			without := slices.Concat(array[:begin], array[end:])
			if set(without); v.fails() {
				array = without
			} else {
				set(array)
			}
		}
	}
	for i := range array {
		v.visit(array[i], func(other any) { array[i] = other })
	}
}

// replace puts the first of others in value's place with which it still fails, and says whether there is one.
func (v *shrinking) replace(value any, set func(any), others ...any) bool {
	for _, other := range others {
		if set(other); v.fails() {
			return true
		}
	}
	set(value)
	return false
}

// byRune disguises as many characters of a text as it may.
func (v *shrinking) byRune(text string, set func(any)) {
	runes := []rune(text)
	for i, c := range runes {
		if runes[i] = []rune(disguise(string(c)))[0]; runes[i] == c {
			continue
		}
		if set(string(runes)); !v.fails() {
			runes[i] = c
		}
	}
	set(string(runes))
}
