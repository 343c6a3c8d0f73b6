package query

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"orderbox/static"
)

// What a page shows of a message; the rest is there to be saved.
const (
	maxShownBytes = 64 << 10
	maxShownLines = 2000
	maxShownDump  = 8 << 10
	// maxIndent keeps what is nested very deep from being mostly spaces.
	maxIndent = 20
	// maxEditable is the largest message that a form offers for amending.
	maxEditable = 256 << 10
)

// payloadView is a message as pages show it: all of it is text, none of it is trusted.
type payloadView struct {
	Form     string // JSON, Text or Bytes
	Size     static.Bytes
	Lines    []payloadLine
	Cut      bool // there is more than Lines
	Unmarked int  // violations whose places are not in Lines
	// Editable is what a form for amending begins with; IsText says whether it can be edited at all.
	Editable string
	IsText   bool
}

// payloadLine is a line of it.
type payloadLine struct {
	Parts  []payloadPart
	Faults []string // what is wrong with what is marked in it
}

// payloadPart is text of which the whole is marked as wrong, or nothing.
type payloadPart struct {
	Text   string
	Marked bool
}

// newPayloadView lays out a message and marks what is wrong with it: JSON on lines of its own, in its own
// order and spelling; other text as it is; and what is no text as bytes.
func newPayloadView(payload []byte, sentence string, violations []violation) payloadView {
	v := payloadView{Size: static.Bytes(len(payload))}
	at := faultAt(sentence)
	var page layout
	switch found, err := takeApart(payload); {
	case !isReadable(payload):
		v.Form = "Bytes"
		page.dump(payload, at, violations)
	case err == nil:
		v.Form = "JSON"
		page.json(payload, found.all, findFaults(found, at, violations))
	default:
		v.Form = "Text"
		page.text(payload, at, violations)
	}
	v.Lines, v.Cut = page.lines, page.cut
	v.Unmarked = len(violations)
	for _, line := range v.Lines {
		v.Unmarked -= len(line.Faults)
	}
	if v.IsText = v.Form != "Bytes" && len(payload) <= maxEditable; v.IsText {
		v.Editable = string(payload)
		if v.Form == "JSON" && !v.Cut {
			v.Editable = page.String()
		}
	}
	return v
}

// isReadable says whether bytes are text that a page can show and a form can send back.
func isReadable(payload []byte) bool {
	return utf8.Valid(payload) && !bytes.ContainsFunc(payload, func(c rune) bool {
		return c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f
	})
}

// byteOffset is how the sentence of a malformed message says where it stops being JSON.
var byteOffset = regexp.MustCompile(`\bat byte (\d+)\b`)

// faultAt returns the byte that a sentence names, or -1.
func faultAt(sentence string) int {
	if m := byteOffset.FindStringSubmatch(sentence); m != nil {
		if at, err := strconv.Atoi(m[1]); err == nil {
			return at
		}
	}
	return -1
}

// findFaults returns what is wrong by the piece that it is wrong with: the one at a byte, or the one that a
// pointer leads to. Of what is missing, what it is missing from.
func findFaults(found pieces, at int, violations []violation) map[int][]string {
	faults := make(map[int][]string)
	for _, v := range violations {
		i, rest := found.locate(v.Pointer)
		if at >= 0 {
			i, rest = found.at(at), ""
		}
		faults[i] = append(faults[i], strings.TrimSpace(rest+" "+v.Message))
	}
	return faults
}

// layout is a message being laid out, up to what a page shows.
type layout struct {
	lines []payloadLine
	bytes int
	cut   bool
}

// line begins a line; it returns false when there is no room for one more.
func (l *layout) line() bool {
	if len(l.lines) == maxShownLines || l.bytes >= maxShownBytes {
		l.cut = true
		return false
	}
	l.lines = append(l.lines, payloadLine{})
	return true
}

// add puts text at the end of the line; what is too much is cut off.
func (l *layout) add(text string, marked bool) {
	if room := max(0, maxShownBytes-l.bytes); len(text) > room {
		text, l.cut = strings.ToValidUTF8(text[:room], ""), true
	}
	l.bytes += len(text)
	line := &l.lines[len(l.lines)-1]
	if last := len(line.Parts) - 1; last >= 0 && !marked && !line.Parts[last].Marked {
		line.Parts[last].Text += text
	} else if text != "" {
		line.Parts = append(line.Parts, payloadPart{text, marked})
	}
}

func (l *layout) blame(faults []string) {
	line := &l.lines[len(l.lines)-1]
	line.Faults = append(line.Faults, faults...)
}

// String is what was laid out, without the marks.
func (l *layout) String() string {
	var b strings.Builder
	for i, line := range l.lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		for _, part := range line.Parts {
			b.WriteString(part.Text)
		}
	}
	return b.String()
}

func (l *layout) json(payload []byte, all []piece, faults map[int][]string) {
	var before piece
	for i, p := range all {
		if i == 0 || before.kind != 'k' && !(before.opens() && p.closes()) {
			if i > 0 && !p.closes() && !before.opens() {
				l.add(",", false)
			}
			if !l.line() {
				return
			}
			l.add(strings.Repeat("  ", min(p.depth, maxIndent)), false)
		}
		l.add(string(payload[p.start:p.end]), faults[i] != nil)
		l.blame(faults[i])
		if p.kind == 'k' {
			l.add(": ", false)
		}
		before = p
	}
}

// text takes a message as it is, and marks the character at a byte.
func (l *layout) text(payload []byte, at int, violations []violation) {
	done := 0
	for text := range strings.Lines(string(payload)) {
		if !l.line() {
			return
		}
		begin, end := done, done+len(text)
		done = end
		shown := strings.TrimRight(text, "\r\n")
		here := at >= begin && at < end || at >= len(payload) && end == len(payload)
		if !here {
			l.add(shown, false)
			continue
		}
		from := min(at-begin, len(shown)) // the line's end is not seen
		for from > 0 && from < len(shown) && !utf8.RuneStart(shown[from]) {
			from--
		}
		_, width := utf8.DecodeRuneInString(shown[from:])
		l.add(shown[:from], false)
		l.add(shown[from:from+width], true)
		l.add(shown[from+width:], false)
		l.blameAll(violations)
	}
	if len(payload) == 0 && l.line() {
		l.blameAll(violations)
	}
}

// dump shows bytes by their numbers, sixteen in a line, from a little before the one at fault.
func (l *layout) dump(payload []byte, at int, violations []violation) {
	const width = 16
	begin := 0
	if at >= maxShownDump {
		begin = min(at-maxShownDump/2, len(payload)) / width * width
	}
	end := min(begin+maxShownDump, len(payload))
	l.cut = begin > 0 || end < len(payload)
	for ; begin < end; begin += width {
		l.lines = append(l.lines, payloadLine{})
		row := payload[begin:min(begin+width, end)]
		l.add(fmt.Sprintf("%08x  ", begin), false)
		for i, b := range row {
			l.add(hex.EncodeToString([]byte{b}), begin+i == at)
			l.add(" ", false)
		}
		l.add(strings.Repeat("   ", width-len(row))+" ", false)
		for i, b := range row {
			c := "."
			if b >= ' ' && b < 0x7f {
				c = string(rune(b))
			}
			l.add(c, begin+i == at)
		}
		if at >= begin && at < begin+len(row) || begin+width >= len(payload) && at >= len(payload) {
			l.blameAll(violations)
		}
	}
}

func (l *layout) blameAll(violations []violation) {
	for _, v := range violations {
		l.blame([]string{v.Message})
	}
}
