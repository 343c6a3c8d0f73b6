//go:build !race

package cutover

import (
	"bytes"
	"testing"
)

// More than fits into memory is asked for again, in smaller portions.
func TestManyLargeMessagesAreCopied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	payloads := numbered(1, 400)
	for i := range payloads {
		payloads[i] = bytes.Repeat([]byte{byte(i)}, 900<<10+i)
	}
	w.mustPublish(payloads...)
	w.mustRelay()
	w.mustHold(1, payloads)
}
