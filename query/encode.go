package query

import (
	"errors"
	"reflect"
	"strconv"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/segmentio/encoding/json"

	"orderbox"
)

// The JSON of an order, as the tags of orderbox.Order say it: what is before the items, one item, and what is behind them.
// It is written from the columns as they come, for to make an Order of them first takes twice as long and more memory than
// the cache keeps.
var orderHead, orderItem, orderTail = func() (head, item, tail stencil) {
	var c cutter
	c.object(reflect.TypeFor[orderbox.Order]())
	c.cut()
	return c.stencils[0], c.stencils[1], c.stencils[2]
}()

// stencil is JSON with places for values: the text before each, and the text after the last.
type stencil struct {
	before []string
	after  string
}

// columns returns what rows are to be scanned into: it appends the stencil to the buffer, but the text after the last value.
func (p *stencil) columns(to *[]byte) []any {
	columns, into := make([]column, len(p.before)), make([]any, len(p.before))
	for i, before := range p.before {
		columns[i] = column{before, to}
		into[i] = &columns[i]
	}
	return into
}

var errNull = errors.New("the model's fields are never null")

// column appends its value to a buffer: a number if the database has one, and else a string.
type column struct {
	before string
	to     *[]byte
}

// ScanInt64 appends a number.
func (c *column) ScanInt64(v pgtype.Int8) error {
	if !v.Valid {
		return errNull
	}
	*c.to = strconv.AppendInt(append(*c.to, c.before...), v.Int64, 10)
	return nil
}

// ScanBytes appends a string.
func (c *column) ScanBytes(v []byte) error {
	if v == nil {
		return errNull
	}
	*c.to = appendString(append(*c.to, c.before...), v)
	return nil
}

// appendString appends the JSON that orderbox.Order.JSON has for a text, which is valid UTF-8. Few need any escape.
func appendString(b, text []byte) []byte {
	for _, c := range text {
		if c < ' ' || c == '"' || c == '\\' || c == 0xE2 { // with which U+2028 and U+2029 begin
			return json.AppendEscape(b, string(text), 0)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}

// cutter cuts the JSON of a struct, whose slices are of structs, at the fields that are slices.
type cutter struct {
	stencils []stencil
	now      stencil
	text     string // after its last value
}

func (c *cutter) object(t reflect.Type) {
	c.text += "{"
	for i := range t.NumField() {
		f := t.Field(i)
		if i > 0 {
			c.text += ","
		}
		c.text += strconv.Quote(f.Tag.Get("json")) + ":"
		switch f.Type.Kind() {
		case reflect.Struct:
			c.object(f.Type)
		case reflect.Slice:
			c.text += "["
			c.cut()
			c.object(f.Type.Elem())
			c.cut()
			c.text += "]"
		default:
			c.now.before = append(c.now.before, c.text)
			c.text = ""
		}
	}
	c.text += "}"
}

// cut ends a stencil.
func (c *cutter) cut() {
	c.now.after = c.text
	c.stencils = append(c.stencils, c.now)
	c.now, c.text = stencil{}, ""
}
