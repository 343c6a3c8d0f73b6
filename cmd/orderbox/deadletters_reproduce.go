package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"orderbox/internal/cli"
	"orderbox/projector"
)

type reproduceCommand struct {
	operatorFlags
	ID     int64  `arg:"" help:"Id of the dead letter."`
	Output string `short:"o" help:"File to write; - is standard output. Default: dead_letter_ID_test.go." placeholder:"FILE"`
}

// Help is the text behind --help.
func (reproduceCommand) Help() string {
	return `The test holds as little of the message as it takes to be refused in the same way, with made-up data in the
place of its own: it can be kept with the code. It is a test of the package projector, by this program's schema.

Example:
  orderbox dead-letters reproduce 17 --output projector/dead_letter_17_test.go
  go test ./projector -run DeadLetter17`
}

// Run makes the test and saves it.
func (c *reproduceCommand) Run(ctx context.Context, s cli.Streams) error {
	api, err := c.api()
	if err != nil {
		return err
	}
	payload, err := api.payload(ctx, c.ID, 0)
	if err != nil {
		return err
	}
	judge, err := projector.New(nil, nil, projector.Options{})
	if err != nil {
		return err
	}
	name := strconv.FormatInt(c.ID, 10)
	source, err := judge.Reproducer(name, payload)
	if errors.Is(err, projector.ErrReproducesNothing) {
		return cli.Try(err, "orderbox dead-letters show "+name+": what is wrong is not in the message alone, or no longer")
	}
	if err != nil {
		return err
	}
	if c.Output == "-" {
		_, err = s.Out.Write(source)
		return err
	}
	if c.Output == "" {
		c.Output = "dead_letter_" + name + "_test.go"
	}
	if err := os.WriteFile(c.Output, source, 0o644); err != nil {
		return cli.Try(err, "--output FILE, where you may write")
	}
	_, err = fmt.Fprintf(s.Out, "%s\nput it into projector/ and run: go test ./projector -run DeadLetter%s\n", c.Output, name)
	return err
}
