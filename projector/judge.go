package projector

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"orderbox"
	"orderbox/inbox"
)

// judgement is what a message means taken for itself: an order, or a dead letter. Whether the order is
// a duplicate or a conflict depends on what was projected before, and is seen when it is written.
type judgement struct {
	position   int64
	original   int64 // of a retry or an amendment; 0 for other messages
	receivedAt time.Time
	schema     string // the version by which it was judged

	dead *deadLetter // nil for an order

	order   *orderbox.Order
	created time.Time // the order's date_created
	digest  [sha256.Size]byte
}

// deadLetter is why a message was refused.
type deadLetter struct {
	reason     reason
	sentence   string
	violations []violation
	first      int64  // the position of the order that a conflict lost to
	fault      string // where this program failed when it judged the message, for the log alone
}

// places are the pointers of the violations, each once, with * for the number of an entry: what fails for
// many messages fails at one place. What is no JSON fails as a whole, for its keys may be anything.
func (d *deadLetter) places() []string {
	if d.reason == reasonMalformed {
		return []string{""}
	}
	var places []string
	for _, v := range d.violations {
		names := strings.Split(v.Pointer, "/")
		for i, name := range names {
			if name != "" && strings.Trim(name, "0123456789") == "" {
				names[i] = "*"
			}
		}
		places = append(places, strings.Join(names, "/"))
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// refuse is a judgement turned into a refusal.
func (j judgement) refuse(dead *deadLetter) judgement {
	j.dead, j.order = dead, nil
	return j
}

// judge judges one payload, by its bytes and the schema alone.
func (s *schema) judge(entry inbox.Entry) judgement {
	j := judgement{position: entry.Position, original: entry.Original, receivedAt: entry.ReceivedAt, schema: s.version}
	if j.order, j.dead = s.read(entry.Payload); j.dead != nil {
		return j
	}
	var err error
	if j.created, err = instant(j.order.DateCreated); err != nil {
		return j.refuse(unreadableLetter())
	}
	j.digest = sha256.Sum256(j.order.JSON())
	return j
}

// read returns the order that a payload is, or why it is none.
func (s *schema) read(payload []byte) (*orderbox.Order, *deadLetter) {
	if s.shortcut != nil {
		if order := s.shortcut.order(payload); order != nil {
			return order, nil
		}
	}
	value, fault := parse(payload)
	if fault != nil {
		return nil, malformedLetter(fault)
	}
	if found, more := s.violations(value); len(found) > 0 {
		return nil, invalidLetter(found, more)
	}
	order, err := decode(payload)
	if err != nil {
		return nil, unreadableLetter()
	}
	return order, nil
}

// unreadableLetter is for what passes the schema and cannot be decoded: still the message's fault, and still
// one verdict.
func unreadableLetter() *deadLetter {
	return invalidLetter([]violation{{Keyword: "format", Message: "cannot be read as an order"}}, 0)
}

func malformedLetter(m *malformed) *deadLetter {
	return &deadLetter{
		reason:     reasonMalformed,
		sentence:   fmt.Sprintf("The message is not strict JSON: %s, at byte %d.", m.message, m.offset),
		violations: []violation{newViolation(m.pointer, "json", m.message)},
	}
}

// maxText bounds the parts of a violation: a pointer goes through keys of the message, a demand quotes the
// schema, and an index holds no more than some 2700 bytes.
const maxText = 200

// storable makes of a text one that PostgreSQL's jsonb and index can hold, and a person can read.
func storable(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

func invalidLetter(found []violation, more int) *deadLetter {
	place := found[0].Pointer
	if place == "" {
		place = "the message as a whole"
	}
	sentence := fmt.Sprintf("The order breaks the schema: %s %s.", place, found[0].Message)
	if n := len(found) + more; n > 1 {
		sentence = fmt.Sprintf("The order breaks the schema in %d places; the first: %s %s.", n, place, found[0].Message)
	}
	return &deadLetter{reason: reasonInvalid, sentence: sentence, violations: found}
}

func conflictLetter(first int64) *deadLetter {
	return &deadLetter{
		reason:     reasonConflict,
		sentence:   fmt.Sprintf("Message %d made an order with this order_uid and other content first.", first),
		violations: []violation{{"/order_uid", "unique", fmt.Sprintf("is that of the order of message %d", first)}},
		first:      first,
	}
}

func refusedLetter(state string) *deadLetter {
	return &deadLetter{
		reason:     reasonRefused,
		sentence:   fmt.Sprintf("The database refused the order (SQLSTATE %s).", state),
		violations: []violation{{"", "database", "was refused by the database with SQLSTATE " + state}},
	}
}

func unjudgedLetter() *deadLetter {
	return &deadLetter{
		reason:     reasonUnjudged,
		sentence:   "This program failed while it judged the message.",
		violations: []violation{{"", "program", "made the program fail, which says nothing about it being right or wrong"}},
	}
}
