package query

import (
	"encoding/json"
	"strconv"

	"orderbox/static"
)

// Change is what a replay would change, or has changed. As JSON it is Details.
type Change struct {
	At       int64         // everything is said of the messages up to this position
	Counts   []ChangeCount // none: every row is the same
	Examples []ChangeExample
	Details  any // the same for programs
}

// MarshalJSON is for programs, who want everything and no sentences.
func (c Change) MarshalJSON() ([]byte, error) { return json.Marshal(c.Details) }

// ChangeCount counts one kind of thing.
type ChangeCount struct {
	Of    string // such as orders
	Parts []ChangePart
}

// ChangePart is how many of them change in one way.
type ChangePart struct {
	N    int64
	What string // such as appear
}

// ChangeExample is one order or message that changes.
type ChangeExample struct {
	Order      string // its order_uid; empty for a message
	Stays      bool   // there is such an order before and after
	Message    int64  // its position; of an order, that of the message it would come from
	DeadLetter bool   // the message is one as things are
	What       string // becomes of it
	Fields     []ChangeField
	More       int // fields that are not among them
	Violations []ChangeViolation
}

// ChangeField is a field of an order before and after; nil where there is none, or when it is not to be told.
type ChangeField struct {
	Path          string
	Before, After *string
}

// ChangeViolation is one that went, or one that came.
type ChangeViolation struct {
	Pointer, Message string
	Came             bool
}

// changeView is a Change on a page.
type changeView struct {
	At       int64
	Same     bool
	Counts   []countLine
	Examples []exampleLine
}

// countLine is a ChangeCount, without what does not change.
type countLine struct {
	Of    string
	Parts []ChangePart
}

type exampleLine struct {
	ChangeExample
	Kind       *static.Text // order or message
	Name, Link string
}

func newChangeView(c *Change) *changeView {
	if c == nil {
		return nil
	}
	v := changeView{At: c.At, Same: len(c.Counts) == 0}
	for _, count := range c.Counts {
		line := countLine{Of: count.Of}
		for _, part := range count.Parts {
			if part.N > 0 {
				line.Parts = append(line.Parts, part)
			}
		}
		v.Counts = append(v.Counts, line)
	}
	for _, e := range c.Examples {
		line := exampleLine{ChangeExample: e, Kind: static.Say("Message"), Name: strconv.FormatInt(e.Message, 10)}
		if e.Order != "" {
			line.Kind, line.Name = static.Say("Order"), e.Order
		}
		switch {
		case e.Stays:
			line.Link = orderLink(e.Order)
		case e.DeadLetter:
			line.Link = letterLink(e.Message)
		}
		v.Examples = append(v.Examples, line)
	}
	return &v
}
