package projector

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"time"

	stdjson "encoding/json"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"orderbox"
)

const (
	// maxDepth bounds nesting; an order needs three levels.
	maxDepth = 100
	// maxNumber bounds a number's digits, and its exponent is bounded by what a double holds: comparing
	// 1e999999999 with a schema's bound exactly would cost gigabytes.
	maxNumber   = 100
	maxExponent = 308
	// maxValues bounds what a small message can grow to in memory, some 200 bytes for each value in it; an
	// order with as many items as the schema allows has 11,000.
	maxValues = 100_000
)

// malformed says why a payload is not strict JSON.
type malformed struct {
	pointer string // JSON Pointer to the value being read
	offset  int64  // in bytes from the start
	message string
}

// parse reads a payload as one strict JSON value: valid UTF-8, no lone surrogates, no duplicate keys,
// nothing before or behind, bounded depth and numbers. Numbers stay as they are spelt.
func parse(payload []byte) (any, *malformed) {
	if bytes.HasPrefix(payload, []byte("\ufeff")) {
		return nil, &malformed{message: "a byte order mark before the JSON"}
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(payload))
	left := maxValues
	value, err := parseValue(d, &left)
	if err != nil {
		return nil, explain(d, err)
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, &malformed{offset: d.InputOffset(), message: "something follows the JSON value"}
	}
	return value, nil
}

// parseValue reads the next value, of the number of values that are left to the message.
func parseValue(d *jsontext.Decoder, left *int) (any, error) {
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	if *left--; *left < 0 {
		return nil, errors.New("more than " + strconv.Itoa(maxValues) + " values")
	}
	if d.StackDepth() > maxDepth {
		return nil, errors.New("nested more than " + strconv.Itoa(maxDepth) + " levels deep")
	}
	switch token.Kind() {
	case '{':
		return parseObject(d, left)
	case '[':
		return parseArray(d, left)
	case '"':
		return token.String(), nil
	case '0':
		return parseNumber(token.String())
	case 't', 'f':
		return token.Bool(), nil
	default:
		return nil, nil
	}
}

func parseObject(d *jsontext.Decoder, left *int) (any, error) {
	object := make(map[string]any)
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String() // the token is void after the next read
		if object[key], err = parseValue(d, left); err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	return object, err
}

func parseArray(d *jsontext.Decoder, left *int) (any, error) {
	array := []any{}
	for d.PeekKind() != ']' {
		value, err := parseValue(d, left)
		if err != nil {
			return nil, err
		}
		array = append(array, value)
	}
	_, err := d.ReadToken()
	return array, err
}

func parseNumber(literal string) (any, error) {
	if len(literal) > maxNumber {
		return nil, fmt.Errorf("a number of more than %d characters", maxNumber)
	}
	if i := strings.IndexAny(literal, "eE"); i >= 0 {
		if exponent, err := strconv.Atoi(literal[i+1:]); err != nil || exponent > maxExponent || exponent < -maxExponent {
			return nil, fmt.Errorf("a number with an exponent beyond %d", maxExponent)
		}
	}
	return stdjson.Number(literal), nil
}

// explain says in our own words what the decoder found, without quoting the payload.
func explain(d *jsontext.Decoder, err error) *malformed {
	m := &malformed{pointer: string(d.StackPointer()), offset: d.InputOffset(), message: err.Error()}
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		m.pointer, m.offset = string(syntactic.JSONPointer), syntactic.ByteOffset
		switch {
		case errors.Is(err, jsontext.ErrDuplicateName):
			m.message = "a key that stands twice in one object"
		case errors.Is(err, io.ErrUnexpectedEOF):
			m.message = "the JSON ends too early"
		default:
			m.message = "a syntax error or invalid Unicode"
		}
	}
	if errors.Is(err, io.EOF) {
		m.message = "the message is empty"
	}
	return m
}

// decode makes an order of a payload that has passed the schema. Unlike the standard library's decoder
// it matches field names exactly, so that an unknown "ORDER_UID" cannot take the place of order_uid.
func decode(payload []byte) (*orderbox.Order, error) {
	order := new(orderbox.Order)
	err := json.Unmarshal(payload, order, json.WithUnmarshalers(json.UnmarshalFromFunc(decodeInteger)),
		jsontext.AllowDuplicateNames(true)) // parse has seen to it
	if err != nil {
		return nil, err
	}
	if order.Items == nil {
		order.Items = []orderbox.Item{} // where a schema allows it; no rows are an empty list when they are served
	}
	return order, nil
}

// decodeInteger accepts every spelling of an integer that JSON Schema does: 5, 5.0 and 50e-1 are one. So are
// "5" and "5.00" where the schema lets strings through.
func decodeInteger(d *jsontext.Decoder, n *int64) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() == '"' {
		whole, fraction, _ := strings.Cut(token.String(), ".")
		if strings.Trim(fraction, "0") != "" {
			return errors.New("not an integer")
		}
		*n, err = strconv.ParseInt(whole, 10, 64)
		return err
	}
	*n, err = integer(token.String())
	return err
}

// integer reads a JSON number exactly. The schema has bounded it to 64 bits, and parse its length.
func integer(literal string) (int64, error) {
	if n, err := strconv.ParseInt(literal, 10, 64); err == nil {
		return n, nil
	}
	r, ok := new(big.Rat).SetString(literal)
	if !ok || !r.IsInt() || !r.Num().IsInt64() {
		return 0, errors.New("not an integer of 64 bits")
	}
	return r.Num().Int64(), nil
}

// instant reads an RFC 3339 time in any of its spellings. Go knows neither the small letters nor the leap
// second that the format allows.
func instant(text string) (time.Time, error) {
	text = strings.ToUpper(text)
	var leap time.Duration
	if len(text) > 19 && text[17:19] == "60" {
		text, leap = text[:17]+"59"+text[19:], time.Second
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	return t.UTC().Add(leap), err
}
