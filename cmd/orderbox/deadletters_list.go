package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

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
	return `WHERE is the first place in the message that is wrong, as a JSON Pointer; - is the message as a whole.

Examples:
  orderbox dead-letters list --reason invalid --since 24h
  orderbox dead-letters list --place '/items/*/price' --limit 0 --json | jq -r .id`
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

// letterTable lists dead letters for people. A column is as wide as what was in it so far, for nobody knows
// the next page.
type letterTable struct {
	out    io.Writer
	width  int // of the terminal, 0 without one
	widths [5]int
	headed bool
}

// maxWhere keeps the keys of a message from filling the line.
const maxWhere = 30

func (t *letterTable) print(objects []json.RawMessage) error {
	var rows [][]string
	if !t.headed && len(objects) > 0 {
		t.headed = true
		rows = append(rows, []string{"ID", "RECEIVED", "STATE", "REASON", "WHERE", "WHAT"})
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
		rows = append(rows, []string{strconv.FormatInt(l.ID, 10), stamp(l.ReceivedAt), plain(l.State), plain(l.Reason), cut(where, maxWhere), plain(l.Sentence)})
	}
	for _, row := range rows {
		for i := range t.widths {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b bytes.Buffer
	for _, row := range rows {
		var line strings.Builder
		for i, width := range t.widths {
			fmt.Fprintf(&line, "%-*s  ", width, row[i])
		}
		b.WriteString(cut(line.String()+row[len(t.widths)], t.width) + "\n")
	}
	_, err := t.out.Write(b.Bytes())
	return err
}

// width is that of the terminal that w writes to, or 0.
func width(w io.Writer) int {
	if !cli.IsTerminal(w) {
		return 0
	}
	columns, _, err := term.GetSize(int(w.(*os.File).Fd()))
	if err != nil {
		return 0
	}
	return columns
}
