package projector

import (
	"bytes"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"orderbox"
)

// shortcut reads a payload straight into an order and judges it on the way. Most messages are orders with
// nothing special about them, and need neither a tree of their values nor a list of what is wrong with them:
// the long way by parse, violations and decode takes four times as long. The shortcut only comes to an end for
// what is certain to pass on the long way too, with the same order; it leaves everything else to that.
type shortcut struct{ read reader }

// reader reads the next value into a field and says whether it is certain to pass. It counts the values of the
// message down.
type reader func(d *jsontext.Decoder, into reflect.Value, left *int) bool

// order returns the order that a payload is, or nil when it has to go the long way.
func (s *shortcut) order(payload []byte) *orderbox.Order {
	d := decoders.Get().(*jsontext.Decoder)
	defer decoders.Put(d)
	d.Reset(bytes.NewBuffer(payload))
	order, left := new(orderbox.Order), maxValues
	if !s.read(d, reflect.ValueOf(order).Elem(), &left) {
		return nil
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil
	}
	return order
}

var decoders = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

// newShortcut makes a shortcut of a schema's JSON. There is none for a schema with a keyword that is not among
// those of demands, or that speaks of a field which no order has.
func newShortcut(document any) *shortcut {
	root, ok := document.(map[string]any)
	if !ok {
		return nil
	}
	root = maps.Clone(root)
	delete(root, "$id") // further down it would change what a reference means
	c := shortcutCompiler{document}
	read := c.value([]any{root}, reflect.TypeFor[orderbox.Order]())
	if read == nil {
		return nil
	}
	return &shortcut{read}
}

type shortcutCompiler struct{ document any }

// value makes the reader of a Go type that several schemas speak of; nil when there is none.
func (c *shortcutCompiler) value(schemas []any, t reflect.Type) reader {
	var d demands
	for _, schema := range schemas {
		if !c.gather(&d, schema) {
			return nil
		}
	}
	var read reader
	switch {
	case t.Kind() == reflect.Struct && d.isOnly("object"):
		read = c.object(&d, t)
	case t.Kind() == reflect.Slice && d.isOnly("array"):
		read = c.array(&d, t)
	case t.Kind() == reflect.String && d.isOnly("string"):
		read = text(d.texts)
	case t.Kind() == reflect.Int64 && d.isOnly("integer"):
		read = number(d.integers)
	}
	if read == nil {
		return nil
	}
	return func(d *jsontext.Decoder, into reflect.Value, left *int) bool {
		*left--
		return *left >= 0 && read(d, into, left)
	}
}

// isOnly says that no other type than this one is asked for.
func (d *demands) isOnly(name string) bool {
	return !slices.ContainsFunc(d.types, func(t string) bool { return t != name })
}

func (c *shortcutCompiler) object(demanded *demands, t reflect.Type) reader {
	type field struct {
		index int
		bit   uint64
		read  reader
	}
	fields := map[string]field{} // by name in quotes, as the message spells it
	var required uint64
	for i := range min(t.NumField(), 64) {
		name := t.Field(i).Tag.Get("json")
		read := c.value(demanded.properties[name], t.Field(i).Type)
		if read == nil {
			return nil
		}
		f := field{i, 1 << i, read}
		fields[strconv.Quote(name)] = f
		if demanded.required[name] {
			required |= f.bit
		}
		delete(demanded.properties, name)
		delete(demanded.required, name)
	}
	if len(demanded.properties) > 0 || len(demanded.required) > 0 || len(fields) < t.NumField() {
		return nil
	}
	return func(d *jsontext.Decoder, into reflect.Value, left *int) bool {
		if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
			return false
		}
		var seen uint64
		for d.PeekKind() != '}' {
			name, err := d.ReadValue()
			if err != nil || bytes.IndexByte(name, '\\') >= 0 { // a known name may be spelt that way
				return false
			}
			f, known := fields[string(name)]
			if !known {
				if _, err := parseValue(d, left); err != nil {
					return false
				}
				continue
			}
			if !f.read(d, into.Field(f.index), left) {
				return false
			}
			seen |= f.bit
		}
		_, err := d.ReadToken()
		return err == nil && seen&required == required
	}
}

func (c *shortcutCompiler) array(demanded *demands, t reflect.Type) reader {
	read := c.value(demanded.items, t.Elem())
	if read == nil {
		return nil
	}
	return func(d *jsontext.Decoder, into reflect.Value, left *int) bool {
		if token, err := d.ReadToken(); err != nil || token.Kind() != '[' {
			return false
		}
		const usual = 2
		into.Set(reflect.MakeSlice(t, 0, usual)) // not nil, as decode has it
		for n := 0; d.PeekKind() != ']'; n++ {
			into.Grow(1)
			into.SetLen(n + 1)
			if !read(d, into.Index(n), left) {
				return false
			}
		}
		_, err := d.ReadToken()
		return err == nil && all(demanded.lengths, into.Len())
	}
}

func text(checks []func(string) bool) reader {
	return func(d *jsontext.Decoder, into reflect.Value, _ *int) bool {
		token, err := d.ReadToken()
		if err != nil || token.Kind() != '"' {
			return false
		}
		s := token.String()
		into.SetString(s)
		return all(checks, s)
	}
}

// number reads an integer that is spelt as one; the long way knows the other spellings.
func number(checks []func(int64) bool) reader {
	return func(d *jsontext.Decoder, into reflect.Value, _ *int) bool {
		literal, err := d.ReadValue()
		if err != nil || literal.Kind() != '0' {
			return false
		}
		n, err := strconv.ParseInt(string(literal), 10, 64)
		into.SetInt(n)
		return err == nil && all(checks, n)
	}
}

func all[T any](checks []func(T) bool, value T) bool {
	for _, holds := range checks {
		if !holds(value) {
			return false
		}
	}
	return true
}
