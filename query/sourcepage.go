package query

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"orderbox/static"
)

// maxSourceLines keeps a page small when an order is not: the endpoint names all values.
const maxSourceLines = 1000

// sourceView says on an order's page where each of its values comes from.
type sourceView struct {
	Away     bool // the database does not answer, so nothing is known
	Message  int64
	From     string // the source
	Channel  string
	Number   string // in the channel
	Sent     moment
	Received moment
	Later    *static.Text // than it was sent it was received
	Schema   string
	Payload  payloadView // as it came

	Original     int64 // the dead letter that this order was made of; 0 for none
	OriginalLink string
	Duplicates   *static.Count // how many came later; nil for none
	Conflicts    []deadLink    // of other content
	Lines        []valueLine   // value by value
	More         int
	JSONLink     string
}

// deadLink is a dead letter to go to.
type deadLink struct {
	ID   int64
	Link string
}

// valueLine is a value, as it is spelt, with its place.
type valueLine struct{ Pointer, Value string }

// maxConflicts bounds the dead letters that a page names.
const maxConflicts = 20

// readSourceView asks where an order comes from. An order is shown without that while the database is away.
func (s *Server) readSourceView(ctx context.Context, uid string, e entry) (*sourceView, error) {
	from, payload, err := s.sourceOf(ctx, uid, e)
	if err != nil {
		if p := asProblem(err); p.Status == http.StatusServiceUnavailable {
			return &sourceView{Away: true}, nil
		}
		return nil, err
	}
	m := from.Message
	v := &sourceView{
		Message: m.Position, From: m.Source, Channel: m.Channel, Number: strconv.FormatInt(m.Sequence, 10), Schema: from.SchemaVersion,
		Sent:     newMoment(m.StampedAt, m.StampedAt.Format(time.RFC3339Nano)),
		Received: newMoment(m.ReceivedAt, m.ReceivedAt.Format(time.RFC3339Nano)),
	}
	v.Later = later(m.ReceivedAt.Sub(m.StampedAt))
	v.Payload = newPayloadView(payload, "", nil)
	if !isDots(uid) {
		v.JSONLink = "/api/v1" + orderLink(uid) + "/source"
	}
	if m.Original != nil {
		v.Original, v.OriginalLink = *m.Original, letterLink(*m.Original)
	}
	if len(m.Duplicates) > 0 {
		v.Duplicates = &static.Count{N: int64(len(m.Duplicates)), Noun: "message"}
	}
	for _, id := range m.Conflicts[:min(maxConflicts, len(m.Conflicts))] {
		v.Conflicts = append(v.Conflicts, deadLink{id, letterLink(id)})
	}
	v.More = max(0, len(from.Values)-maxSourceLines)
	for _, value := range from.Values[:len(from.Values)-v.More] {
		v.Lines = append(v.Lines, valueLine{value.Pointer, string(value.Value)})
	}
	return v, nil
}

// later says how much later something happened. Two machines' clocks may disagree.
func later(d time.Duration) *static.Text {
	switch {
	case d < 0:
		return static.Say("at once, by the broker’s clock")
	case d < time.Second:
		return static.Say("%s ms later", d.Milliseconds())
	case d < time.Minute:
		return static.Say("%s s later", int64(d.Seconds()))
	}
	return static.Say("%s later", d.Round(time.Second).String())
}
