package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"

	"orderbox/internal/cli"
)

type amendCommand struct {
	ID   int64  `arg:"" optional:"" help:"Id of the dead letter; or give a patch and a filter."`
	File string `arg:"" optional:"" help:"What the message should have been; - is standard input."`
	bulkFlags
	verdictFlags
	Patch string `help:"A JSON Patch (RFC 6902) that is applied to each message that the filter finds. Those to which it does not apply are left out." placeholder:"JSON"`
	Note  string `help:"Why. It is kept with the dead letter." placeholder:"TEXT"`
}

// Help is the text behind --help.
func (amendCommand) Help() string {
	return `An amendment is entered into the log as a message with a pointer to its original, which stays as it came. The
verdict on it is awaited and printed; it exits 1 when it was refused as well. After a patch, it is counted how many
are open when all have a verdict.

Examples:
  orderbox dead-letters payload 17 | sed s/18.17/1817/ | orderbox dead-letters amend 17 - --note 'roubles for copecks'
  orderbox dead-letters amend --place /payment/currency --patch '[{"op": "test", "path": "/payment/currency", "value": "RUR"},
    {"op": "replace", "path": "/payment/currency", "value": "RUB"}]'
  orderbox dead-letters amend --reason invalid --patch "$(cat patch.json)" --yes`
}

// Validate keeps one amendment and many apart.
func (c *amendCommand) Validate() error {
	switch {
	case c.Patch == "" && (c.filtered() || c.Yes || c.Expect != nil):
		return errors.New("say with --patch how to amend what the filter finds")
	case c.Patch == "" && (c.ID == 0 || c.File == ""):
		return errors.New("name a dead letter and the file that amends it, or give a patch and a filter")
	case c.Patch != "" && c.ID != 0:
		return errors.New("a patch is for what a filter finds: a single dead letter is amended by a file")
	case c.Patch != "" && !c.filtered():
		return errors.New("say which dead letters are meant, by a filter such as --reason, --place or --state")
	case c.Patch != "" && !json.Valid([]byte(c.Patch)):
		return errors.New("the patch is no JSON")
	}
	return nil
}

// maxAmendment is a byte more than the service takes, which says so itself.
const maxAmendment = 1<<20 + 1

// Run enters the amendments, and waits for the verdicts.
func (c *amendCommand) Run(ctx context.Context, s cli.Streams) error {
	api, err := c.api()
	if err != nil {
		return err
	}
	if c.Patch != "" {
		done, err := c.all(ctx, s, api, decision{"amend", "amended"}, c.Note, json.RawMessage(c.Patch))
		if err != nil || done == 0 || c.Wait == 0 {
			return err
		}
		return c.watch(ctx, s, api, done, c.Wait)
	}
	payload, err := c.read(s.In)
	if err != nil {
		return cli.Try(err, "name a file that you may read, or - for standard input")
	}
	query := url.Values{}
	if c.Note != "" {
		query.Set("note", c.Note)
	}
	body, err := api.ask(ctx, http.MethodPost, letterPath(c.ID)+"/amend", query, "application/octet-stream", payload)
	if err != nil {
		return err
	}
	var taken decided
	if err := api.decode(body, &taken); err != nil {
		return err
	}
	return c.await(ctx, s, api, []entry{{c.ID, taken.Entry}})
}

func (c *amendCommand) read(stdin io.Reader) ([]byte, error) {
	if c.File == "-" {
		return io.ReadAll(io.LimitReader(stdin, maxAmendment))
	}
	file, err := os.Open(c.File)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxAmendment))
}
