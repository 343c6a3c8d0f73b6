package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/term"

	"orderbox/internal/cli"
)

type listLettersCommand struct {
	operatorFlags
	filterFlags
	Limit int  `default:"20" help:"How many at most; 0 is all. Default: ${default}." placeholder:"N"`
	JSON  bool `name:"json" help:"Print each as JSON on a line of its own."`
}

// Help is the text behind --help.
func (listLettersCommand) Help() string {
	return `WHERE is the first place in the message that is wrong, as a JSON Pointer; - is the message as a whole.`
}

// maxPage is what the service gives at once.
const maxPage = 100

// Run lists page after page.
func (c *listLettersCommand) Run(ctx context.Context, s cli.Streams) error {
	api, err := c.api()
	if err != nil {
		return err
	}
	query := c.query()
	table := letterTable{out: s.Out, width: width(s.Out)}
	// A page of a search may be short, or empty, with more to come.
	for left := c.Limit; ; {
		size := maxPage
		if c.Limit > 0 {
			size = min(size, left)
		}
		query.Set("limit", strconv.Itoa(size))
		var page struct {
			DeadLetters []json.RawMessage `json:"dead_letters"`
			Next        *string
		}
		if err := api.get(ctx, deadLettersPath, query, &page); err != nil {
			return err
		}
		if c.JSON {
			err = printLines(s.Out, page.DeadLetters)
		} else {
			err = table.print(page.DeadLetters)
		}
		left -= len(page.DeadLetters)
		switch {
		case err != nil:
			return err
		case page.Next == nil && left == c.Limit && !c.JSON:
			_, err = fmt.Fprintln(s.Out, "no dead letters")
			return err
		case page.Next == nil:
			return nil
		case c.Limit > 0 && left <= 0:
			_, err = fmt.Fprintln(s.Err, "there are more: --limit 0 lists all")
			return err
		}
		query.Set("after", *page.Next)
	}
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
	_, err := w.Write(b.Bytes())
	return err
}

// letterTable lists dead letters for people. Its columns have fixed widths, for nobody knows the next page.
type letterTable struct {
	out    io.Writer
	width  int // of the terminal, 0 without one
	headed bool
}

const letterRow = "%-8v  %-20s  %-9s  %-9s  %-30s  %s"

func (t *letterTable) print(objects []json.RawMessage) error {
	var b bytes.Buffer
	line := func(values ...any) { b.WriteString(cut(fmt.Sprintf(letterRow, values...), t.width) + "\n") }
	if !t.headed && len(objects) > 0 {
		t.headed = true
		line("ID", "RECEIVED", "STATE", "REASON", "WHERE", "WHAT")
	}
	for _, object := range objects {
		var l letter
		if err := json.Unmarshal(object, &l); err != nil {
			return err
		}
		where := wholeMessage
		if len(l.Violations) > 0 {
			where = l.Violations[0].where()
		}
		line(l.ID, l.ReceivedAt.UTC().Format(time.RFC3339), l.State, l.Reason, cut(where, 30), plain(l.Sentence))
	}
	_, err := t.out.Write(b.Bytes())
	return err
}

// width is that of the terminal that w writes to, or 0.
func width(w io.Writer) int {
	if !isTerminal(w) {
		return 0
	}
	columns, _, err := term.GetSize(int(w.(*os.File).Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// isTerminal says whether a person looks on.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
