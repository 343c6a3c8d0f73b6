package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Color is how a text stands out.
type Color string

// The colours, as terminals are told them.
const (
	Red   Color = "31"
	Green Color = "32"
	Bold  Color = "1"
)

// Paint colours a text that is to be written to w: for a person at a terminal, unless the environment has NO_COLOR
// (no-color.org), or a terminal that knows none.
func Paint(w io.Writer, color Color, text string) string {
	if !IsTerminal(w) || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return text
	}
	return "\x1b[" + string(color) + "m" + text + "\x1b[0m"
}

// IsTerminal says whether a person looks on.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
