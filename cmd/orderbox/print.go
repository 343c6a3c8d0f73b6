package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
)

// plain is a text that came from a message, in part at least, without what a terminal would obey.
func plain(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsGraphic(c) {
			return c
		}
		return unicode.ReplacementChar
	}, text)
}

// lines returns what prints a line, with the texts in it made plain.
func lines(w io.Writer) func(format string, args ...any) {
	return func(format string, args ...any) {
		for i, arg := range args {
			if text, ok := arg.(string); ok {
				args[i] = plain(text)
			}
		}
		fmt.Fprintf(w, format+"\n", args...)
	}
}

// printJSON prints v over several lines.
func printJSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(escape(text), '\n'))
	return err
}

// printLines prints the service's objects as it gave them, each on a line of its own.
func printLines(w io.Writer, objects []json.RawMessage) error {
	var b bytes.Buffer
	for _, object := range objects {
		if err := json.Compact(&b, object); err != nil {
			return err
		}
		b.WriteByte('\n')
	}
	_, err := w.Write(escape(b.Bytes()))
	return err
}

// escaped writes texts of JSON as escape spells them. Each Write is of whole characters.
type escaped struct{ io.Writer }

// Write writes text.
func (e escaped) Write(text []byte) (int, error) {
	if _, err := e.Writer.Write(escape(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}

// escape spells what a terminal would obey in a text of JSON by its number: JSON leaves a good deal of that as it is. To
// a program it is the same.
func escape(text []byte) []byte {
	var b bytes.Buffer
	for _, c := range string(text) {
		switch {
		case c == '\n' || unicode.IsGraphic(c):
			b.WriteRune(c)
		case c > 0xffff:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
	}
	return b.Bytes()
}
