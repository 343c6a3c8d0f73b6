package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"orderbox/internal/cli"
)

type showLetterCommand struct {
	operatorFlags
	ID   int64 `arg:"" help:"Id of the dead letter."`
	JSON bool  `name:"json" help:"Print it as JSON."`
}

// Help is the text behind --help.
func (showLetterCommand) Help() string {
	return `Examples:
  orderbox dead-letters show 17
  orderbox dead-letters show 17 --json | jq .violations`
}

// Run shows one dead letter.
func (c *showLetterCommand) Run(ctx context.Context, s cli.Streams) error {
	api, err := c.api()
	if err != nil {
		return err
	}
	object, err := api.ask(ctx, http.MethodGet, letterPath(c.ID), nil, "", nil)
	if err != nil {
		return err
	}
	if c.JSON {
		return printLines(s.Out, []json.RawMessage{object})
	}
	var l letter
	if err := api.decode(object, &l); err != nil {
		return err
	}
	_, err = s.Out.Write(l.page())
	return err
}

// page is all that is known of a dead letter but the message itself.
func (l letter) page() []byte {
	var b bytes.Buffer
	line := lines(&b)
	line("dead letter %d  %s, %s", l.ID, l.Reason, l.State)
	line("  %s", l.Sentence)
	line("  %s\n", l.Help)
	line("received  %s, %d bytes", stamp(l.ReceivedAt), l.Size)
	line("from      %s, channel %s, sequence %d, of %s", l.Source, l.Channel, l.Sequence, stamp(l.StampedAt))
	schema := ""
	if l.Outdated {
		schema = ", no longer the one in force: a retry may end otherwise"
	}
	line("schema    %s%s", l.SchemaVersion, schema)
	if l.First != nil {
		line("first     message %d has the order", *l.First)
	}
	if l.Resolved != nil {
		line("resolved  by the entry at position %d, order %s", *l.Resolved, l.OrderUID)
	}
	line("\nwhat is wrong")
	for _, v := range l.Violations {
		line("  %s  %s (%s)", v.where(), v.Message, v.Keyword)
	}
	if len(l.History) > 0 {
		line("\nwhat was decided")
	}
	for _, d := range l.History {
		line("  %s  %s by %s%s", stamp(d.At), d.Kind, d.By, d.became())
		if d.Note != "" {
			line("      %s", d.Note)
		}
	}
	return b.Bytes()
}

// became says what a retry or an amendment came to.
func (d pastDecision) became() string {
	if d.Entry == 0 {
		return ""
	}
	return fmt.Sprintf(", entry %d: it %s", d.Entry, d.verdict())
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
