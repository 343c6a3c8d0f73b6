package projector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"orderbox/inbox"
)

// ErrReproducesNothing says that a message is no dead letter by this program's schema.
var ErrReproducesNothing = errors.New("by this program's schema the message is an order: there is nothing to reproduce")

// maxAttempts bounds how often a message is judged on the way to its reproducer.
const maxAttempts = 20_000

// Reproducer returns the source of a Go test of this package which fails as a message does, with as little of
// the message as that takes, and with made-up data of the same shape in the place of its own. name becomes a
// part of the test's name. It is the same for the same message. It asks nobody: that of New(nil, nil, Options{})
// will do.
func (p *Projector) Reproducer(name string, payload []byte) ([]byte, error) {
	dead := p.schema.judge(inbox.Entry{Payload: payload}).dead
	if dead == nil {
		return nil, ErrReproducesNothing
	}
	r := reproduction{schema: p.schema, want: complaint(dead), left: maxAttempts}
	small := payload
	if dead.reason == reasonMalformed {
		small = r.smallText(payload)
	} else if value, fault := parse(payload); fault == nil {
		small = r.smallValue(value)
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

// smallText leaves out ever smaller parts of what is no JSON, and disguises the rest.
func (r *reproduction) smallText(text []byte) []byte {
	for size := len(text) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(text); {
			if without := slices.Concat(text[:at], text[at+size:]); r.fails(without) {
				text = without
			} else {
				at += size
			}
		}
	}
	if all := disguise(string(text)); r.fails([]byte(all)) {
		return []byte(all)
	}
	for at := 0; at < len(text); {
		_, size := utf8.DecodeRune(text[at:])
		other := slices.Concat(text[:at], []byte(disguise(string(text[at:at+size]))), text[at+size:])
		if r.fails(other) {
			text = other
		}
		at += size
	}
	return text
}

// smallValue leaves out fields and entries, and disguises the values that are left.
func (r *reproduction) smallValue(root any) []byte {
	v := shrinking{r: r, root: root}
	v.visit(root, func(other any) { v.root = other })
	return v.encoded()
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
		v.visitObject(value)
	case []any:
		v.visitArray(value, set)
	case string:
		if !v.replace(value, set, disguise(value), "") {
			v.byRune(value, set)
		}
	case json.Number:
		v.replace(value, set, json.Number("0"), json.Number("1"), json.Number("-1"), json.Number(disguise(string(value))))
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
	for i := len(array) - 1; i >= 0; i-- {
		without := slices.Concat(array[:i], array[i+1:])
		if set(without); v.fails() {
			array = without
		} else {
			set(array)
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

// disguise puts another letter in the place of each letter, and another digit in that of each digit.
func disguise(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= '0' && c <= '9':
			return '1'
		case c < utf8.RuneSelf && unicode.IsUpper(c):
			return 'X'
		case c < utf8.RuneSelf && unicode.IsLower(c):
			return 'x'
		case unicode.IsLetter(c):
			return 'я'
		}
		return c
	}, text)
}
