package projector

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"orderbox/sql"
)

//go:embed order.schema.json
var orderSchema []byte

// maxViolations bounds what is kept of a message that is wrong in very many places.
const maxViolations = 100

// violation is one thing that is wrong with a message, with its place as a JSON Pointer. The message
// says what is demanded and never quotes what is there.
type violation struct {
	Pointer string `json:"pointer"`
	Keyword string `json:"keyword"`
	Message string `json:"message"`
}

// schema is a compiled JSON Schema. It may be used by many goroutines at once.
type schema struct {
	version  string
	source   []byte
	compiled *jsonschema.Schema
	document any       // the schema's own JSON, to look up what a keyword demands
	shortcut *shortcut // nil when there is none
}

// newSchema compiles a schema of draft 2020-12 with formats asserted.
func newSchema(source []byte) (*schema, error) {
	s := &schema{version: hash(source), source: source}
	d := json.NewDecoder(bytes.NewReader(source))
	d.UseNumber() // a bound of 64 bits is no double
	if err := d.Decode(&s.document); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.Draft = jsonschema.Draft2020
	c.AssertFormat = true
	const name = "order.schema.json"
	if err := c.AddResource(name, bytes.NewReader(source)); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	var err error
	if s.compiled, err = c.Compile(name); err != nil {
		return nil, fmt.Errorf("compile schema: %w", err)
	}
	s.shortcut = newShortcut(s.document)
	return s, nil
}

// judgementVersion numbers what the code of this package makes of a message. It must change whenever a
// verdict, a sentence or an order's bytes change: TestAChangedJudgementIsANewGeneration notices.
const judgementVersion = "2"

// fingerprint names what a generation depends on besides the log and the schemas in it: the tables, and
// what the code makes of a message.
func fingerprint() string {
	return hash([]byte(sql.Generation)) + "-" + hash(fmt.Append(nil, judgementVersion, reasons))
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}

// violations returns what is wrong with a parsed value, in the order of places, and how many more there
// are than are returned; nothing when it passes.
func (s *schema) violations(value any) (found []violation, more int) {
	err := s.compiled.Validate(value)
	if err == nil {
		return nil, 0
	}
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return []violation{{Keyword: "schema", Message: "cannot be judged"}}, 0
	}
	found = s.leaves(nil, invalid, value)
	slices.SortFunc(found, func(a, b violation) int {
		return cmp.Or(cmp.Compare(a.Pointer, b.Pointer), cmp.Compare(a.Keyword, b.Keyword), cmp.Compare(a.Message, b.Message))
	})
	found = slices.Compact(found)
	if len(found) > maxViolations {
		found, more = found[:maxViolations], len(found)-maxViolations
	}
	return found, more
}

// leaves appends the errors that have no causes of their own.
func (s *schema) leaves(found []violation, e *jsonschema.ValidationError, value any) []violation {
	for _, cause := range e.Causes {
		found = s.leaves(found, cause, value)
	}
	if len(e.Causes) > 0 {
		return found
	}
	_, place, _ := strings.Cut(e.AbsoluteKeywordLocation, "#")
	place, pointer := unquote(place), unquote(e.InstanceLocation)
	keyword := place[strings.LastIndex(place, "/")+1:]
	demanded := lookup(s.document, place)
	if keyword == "required" {
		return append(found, missing(demanded, lookup(value, pointer), pointer)...)
	}
	return append(found, newViolation(pointer, keyword, demand(keyword, demanded)))
}

// newViolation returns one that a row can hold, whatever the names in the message and in the schema are.
func newViolation(pointer, keyword, message string) violation {
	return violation{storable(pointer), storable(keyword), storable(message)}
}

// unquote takes the percent signs out of a pointer, which the validator spells as a part of an address.
func unquote(pointer string) string {
	if plain, err := url.PathUnescape(pointer); err == nil {
		return plain
	}
	return pointer
}

// The two characters that a JSON Pointer writes otherwise than they are.
var (
	escapeName   = strings.NewReplacer("~", "~0", "/", "~1")
	unescapeName = strings.NewReplacer("~0", "~", "~1", "/")
)

// missing makes a violation of each required field that an object lacks, with the pointer that it would have.
func missing(required, object any, pointer string) (found []violation) {
	names, _ := required.([]any)
	fields, _ := object.(map[string]any)
	for _, name := range names {
		if _, there := fields[name.(string)]; !there {
			found = append(found, newViolation(pointer+"/"+escapeName.Replace(name.(string)), "required", "is missing"))
		}
	}
	return found
}

// lookup follows a JSON Pointer; nil when it leads nowhere.
func lookup(document any, pointer string) any {
	if pointer == "" {
		return document
	}
	for name := range strings.SplitSeq(pointer[1:], "/") {
		name = unescapeName.Replace(name)
		switch parent := document.(type) {
		case map[string]any:
			document = parent[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(parent) {
				return nil
			}
			document = parent[i]
		default:
			return nil
		}
	}
	return document
}

// demand puts into words what a keyword asks for.
func demand(keyword string, demanded any) string {
	switch keyword {
	case "type":
		return fmt.Sprintf("must be of type %v", demanded)
	case "format":
		return fmt.Sprintf("is not a valid %v", demanded)
	case "pattern":
		return fmt.Sprintf("does not match %v", demanded)
	case "minLength":
		return fmt.Sprintf("must have at least %v characters", demanded)
	case "maxLength":
		return fmt.Sprintf("must have at most %v characters", demanded)
	case "minItems":
		return fmt.Sprintf("must have at least %v entries", demanded)
	case "maxItems":
		return fmt.Sprintf("must have at most %v entries", demanded)
	case "minimum":
		return fmt.Sprintf("must be at least %v", demanded)
	case "maximum":
		return fmt.Sprintf("must be at most %v", demanded)
	default:
		return "breaks " + keyword
	}
}
