package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"orderbox/internal/cli"
)

type groupLettersCommand struct {
	operatorFlags
	State string `help:"Those in this state: open, resolved, discarded or any. Default: open." placeholder:"STATE"`
	By    string `help:"By reason or by place alone; otherwise both ways." placeholder:"WAY"`
	JSON  bool   `name:"json" help:"Print each group as JSON on a line of its own."`
}

// Help is the text behind --help.
func (groupLettersCommand) Help() string {
	return `The largest groups come first. A place is a JSON Pointer with * for the number of an entry, and - for the message
as a whole; a message that is wrong in two places counts in both.

Examples:
  orderbox dead-letters groups
  orderbox dead-letters groups --by place --state any --json`
}

// Run lists the groups.
func (c *groupLettersCommand) Run(ctx context.Context, s cli.Streams) error {
	api, err := c.api()
	if err != nil {
		return err
	}
	query := url.Values{}
	for name, value := range map[string]string{"state": c.State, "by": c.By} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var groups struct{ Reasons, Places []json.RawMessage }
	if err := api.get(ctx, deadLettersPath+"/groups", query, &groups); err != nil {
		return err
	}
	if c.JSON {
		return printLines(s.Out, append(groups.Reasons, groups.Places...))
	}
	if len(groups.Reasons)+len(groups.Places) == 0 {
		fmt.Fprintln(s.Out, "no dead letters")
	}
	for _, raw := range groups.Reasons {
		var g struct {
			Reason, Sentence string
			Count            int64
		}
		if err := json.Unmarshal(raw, &g); err != nil {
			return err
		}
		fmt.Fprintf(s.Out, "%8d  %-9s  %s\n", g.Count, plain(g.Reason), plain(g.Sentence))
	}
	if len(groups.Reasons) > 0 && len(groups.Places) > 0 {
		fmt.Fprintln(s.Out)
	}
	for _, raw := range groups.Places {
		var g struct {
			Reason, Place string
			Count         int64
		}
		if err := json.Unmarshal(raw, &g); err != nil {
			return err
		}
		fmt.Fprintf(s.Out, "%8d  %-9s  %s\n", g.Count, plain(g.Reason), violation{Pointer: g.Place}.where())
	}
	return nil
}
