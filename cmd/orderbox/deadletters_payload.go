package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"orderbox/internal/cli"
)

type payloadCommand struct {
	operatorFlags
	ID     int64  `arg:"" help:"Id of the dead letter."`
	Entry  int64  `help:"Of its retry or amendment at this position of the log, rather than of the message itself." placeholder:"POSITION"`
	Output string `short:"o" help:"Write it into this file, which only you can read, rather than to standard output." placeholder:"FILE" type:"path"`
}

// Help is the text behind --help.
func (payloadCommand) Help() string {
	return `The bytes are those that were received, without a line break at the end that was not there. They may hold
people's names and addresses.

Examples:
  orderbox dead-letters payload 17 --output 17.json
  orderbox dead-letters payload 17 | xxd | head`
}

// Run prints or saves the payload.
func (c *payloadCommand) Run(ctx context.Context, s cli.Streams) error {
	api, err := c.api()
	if err != nil {
		return err
	}
	payload, err := api.payload(ctx, c.ID, c.Entry)
	if err != nil {
		return err
	}
	if c.Output != "" {
		if err := os.WriteFile(c.Output, payload, 0o600); err != nil {
			return cli.Try(err, "--output FILE, where you may write")
		}
		_, err = fmt.Fprintf(s.Err, "%d bytes in %s\n", len(payload), c.Output)
		return err
	}
	if cli.IsTerminal(s.Out) && !isReadable(payload) {
		return cli.Try(fmt.Errorf("the message has %d bytes that are no text: they would upset the terminal", len(payload)),
			fmt.Sprintf("--output FILE, or orderbox dead-letters payload %d | hexdump -C", c.ID))
	}
	_, err = s.Out.Write(payload)
	return err
}

// payload is a dead letter's, or that of one of its retries and amendments unless entry is 0.
func (a operatorAPI) payload(ctx context.Context, id, entry int64) ([]byte, error) {
	query := url.Values{}
	if entry != 0 {
		query.Set("entry", strconv.FormatInt(entry, 10))
	}
	return a.ask(ctx, http.MethodGet, letterPath(id)+"/payload", query, "", nil)
}

// isReadable says whether a terminal shows a payload and does nothing else.
func isReadable(payload []byte) bool {
	return utf8.Valid(payload) && !bytes.ContainsFunc(payload, func(c rune) bool {
		return !unicode.IsGraphic(c) && !strings.ContainsRune("\n\r\t", c)
	})
}
