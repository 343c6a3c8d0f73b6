package stream

import (
	"fmt"
	"strings"
)

// originHeader is the header of a message that says which STAN message it is a copy of.
const originHeader = "Orderbox-Stan-Message"

// copies is what a subject's copies of STAN messages have behind it. Elsewhere the header counts for nothing.
const copies = ".stan"

// CopySubject is where the copies of a channel's STAN messages are published, apart from what producers publish on the
// channel itself.
func CopySubject(channel string) string { return channel + copies }

// Origin is the identity of a STAN message.
type Origin struct {
	Channel  string
	Sequence uint64
	Stamp    int64 // nanoseconds since 1970, the broker's
}

// Header is the header of a copy, name and value.
func (o Origin) Header() (name, value string) {
	return originHeader, fmt.Sprintf("%d %d %s", o.Sequence, o.Stamp, o.Channel)
}

// OriginOf returns which STAN message a message is a copy of, by its subject and headers; ok is false when it is none.
func OriginOf(subject string, headers map[string][]string) (o Origin, ok bool) {
	values := headers[originHeader]
	if len(values) != 1 {
		return Origin{}, false
	}
	if _, err := fmt.Sscanf(values[0], "%d %d %s", &o.Sequence, &o.Stamp, &o.Channel); err != nil {
		return Origin{}, false
	}
	channel, copied := strings.CutSuffix(subject, copies)
	return o, copied && channel == o.Channel && o.Sequence > 0
}
