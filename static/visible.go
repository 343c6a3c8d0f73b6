package static

import (
	"fmt"
	"html/template"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible writes what somebody sent, with a sign for each character that would not be seen or would move those
// around it. The character itself stays beneath, out of sight and without effect, so that who copies the text
// has what was sent. It takes what a template may have: a text, one behind a pointer, or nothing.
func visible(text any) (template.HTML, error) {
	var rest string
	switch text := text.(type) {
	case nil:
	case string:
		rest = text
	case *string:
		rest = *text
	default:
		return "", fmt.Errorf("a %T is no text", text)
	}
	var b strings.Builder
	for {
		at := strings.IndexFunc(rest, isControl)
		if at < 0 {
			break
		}
		template.HTMLEscape(&b, []byte(rest[:at]))
		control, width := utf8.DecodeRuneInString(rest[at:])
		rest = rest[at+width:]
		itself := string(control)
		if control == '\r' {
			itself = "&#13;" // a browser takes it for a line feed as it stands
		}
		fmt.Fprintf(&b, `<span class="control" data-shown="%s">%s</span>`, sign(control), itself)
	}
	template.HTMLEscape(&b, []byte(rest))
	return template.HTML(b.String()), nil
}

// say writes what a page says, as Text has it, and what somebody sent in it as visible does.
func (l *Language) say(v any, args ...any) (template.HTML, error) {
	text, err := l.Text(v, args...)
	if err != nil {
		return "", err
	}
	return visible(text)
}

// told writes a text that comes from elsewhere, and says that it is English where the language does not have it.
func (l *Language) told(text any) (template.HTML, error) {
	var english string
	switch text := text.(type) {
	case nil:
	case string:
		english = text
	case *Text:
		said, err := l.Text(text)
		if text == nil || err != nil {
			return "", err
		}
		if len(text.args) > 0 || l.knows(text.format) {
			return visible(said)
		}
		english = said
	default:
		return "", fmt.Errorf("a %T is no text", text)
	}
	if l.knows(english) {
		return visible(l.format(english))
	}
	shown, err := visible(english)
	return `<span lang="en">` + shown + `</span>`, err
}

// isControl says whether a character is a control, ends a line, or turns the direction of what follows.
func isControl(c rune) bool {
	return unicode.IsControl(c) || c == '\u2028' || c == '\u2029' || '\u202a' <= c && c <= '\u202e' || '\u2066' <= c && c <= '\u2069'
}

// sign is how a program's text spells a character, or its number; there are fonts without pictures of controls.
func sign(c rune) string {
	switch c {
	case '\t':
		return `\t`
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	}
	return fmt.Sprintf("U+%04X", c)
}
