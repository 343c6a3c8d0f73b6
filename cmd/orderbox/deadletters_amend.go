package main

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"os"

	"orderbox/internal/cli"
)

type amendCommand struct {
	operatorFlags
	verdictFlags
	ID   int64  `arg:"" help:"Id of the dead letter."`
	File string `arg:"" help:"What the message should have been; - is standard input."`
	Note string `help:"Why. It is kept with the dead letter." placeholder:"TEXT"`
}

// Help is the text behind --help.
func (amendCommand) Help() string {
	return `An amendment is entered into the log as a message with a pointer to its original, which stays as it came. The
verdict on it is awaited and printed; it exits 1 when it was refused as well.

Example:
  orderbox dead-letters payload 17 | sed s/18.17/1817/ | orderbox dead-letters amend 17 - --note 'roubles for copecks'`
}

// maxAmendment is a byte more than the service takes, which says so itself.
const maxAmendment = 1<<20 + 1

// Run enters the amendment, and waits for the verdict.
func (c *amendCommand) Run(ctx context.Context, s cli.Streams) error {
	api, err := c.api()
	if err != nil {
		return err
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
