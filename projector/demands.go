package projector

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// demands are what the schemas of one value ask for, by the type of value that it applies to.
type demands struct {
	types      []string
	properties map[string][]any // schemas of each
	required   map[string]bool
	items      []any // schemas of every entry
	lengths    []func(int) bool
	texts      []func(string) bool
	integers   []func(int64) bool
}

// gather adds what a schema asks of the value itself, and says whether every keyword is known. A reference that
// leads to itself on the same value is none: such a schema is not even compiled.
func (c *shortcutCompiler) gather(d *demands, schema any) bool {
	keywords, ok := schema.(map[string]any)
	if !ok {
		return false
	}
	for keyword, demanded := range keywords {
		var known bool
		switch keyword {
		case "$schema", "$defs", "title", "description":
			known = true
		case "if":
			known = true // what passes "then" passes both, whatever "if" says; "else" is not known here
		case "then":
			known = c.gather(d, demanded)
		case "$ref":
			pointer, local := strings.CutPrefix(demanded.(string), "#")
			known = local && c.gather(d, lookup(c.document, pointer))
		default:
			known = d.add(keyword, demanded)
		}
		if !known {
			return false
		}
	}
	return true
}

// add adds what one keyword asks for, and says whether it is known.
func (d *demands) add(keyword string, demanded any) bool {
	switch demanded := demanded.(type) {
	case string:
		return d.addText(keyword, demanded)
	case json.Number:
		bound, err := strconv.ParseInt(string(demanded), 10, 64)
		return err == nil && d.addBound(keyword, bound)
	case []any:
		if d.required == nil {
			d.required = map[string]bool{}
		}
		for _, name := range demanded {
			text, _ := name.(string)
			d.required[text] = true
		}
		return keyword == "required"
	case map[string]any:
		switch keyword {
		case "items":
			d.items = append(d.items, demanded)
			return true
		case "properties":
			if d.properties == nil {
				d.properties = map[string][]any{}
			}
			for name, schema := range demanded {
				d.properties[name] = append(d.properties[name], schema)
			}
			return true
		}
	}
	return false
}

func (d *demands) addBound(keyword string, bound int64) bool {
	switch keyword {
	case "minimum":
		d.integers = append(d.integers, func(n int64) bool { return n >= bound })
	case "maximum":
		d.integers = append(d.integers, func(n int64) bool { return n <= bound })
	case "minLength":
		d.texts = append(d.texts, func(s string) bool { return utf8.RuneCountInString(s) >= int(bound) })
	case "maxLength":
		// Bytes are at least as many as characters, and sooner counted.
		d.texts = append(d.texts, func(s string) bool { return len(s) <= int(bound) || utf8.RuneCountInString(s) <= int(bound) })
	case "minItems":
		d.lengths = append(d.lengths, func(n int) bool { return n >= int(bound) })
	case "maxItems":
		d.lengths = append(d.lengths, func(n int) bool { return n <= int(bound) })
	default:
		return false
	}
	return true
}

// withoutNUL is a pattern that the built-in schema asks of nearly every text; as a regular expression it would
// take a quarter of the time.
const withoutNUL = `^[^\x00]*$`

func (d *demands) addText(keyword, demanded string) bool {
	switch keyword {
	case "type":
		d.types = append(d.types, demanded)
		return true
	case "pattern":
		if demanded == withoutNUL {
			d.texts = append(d.texts, func(s string) bool { return strings.IndexByte(s, 0) < 0 })
			return true
		}
		pattern, err := regexp.Compile(demanded)
		if err == nil {
			d.texts = append(d.texts, pattern.MatchString)
		}
		return err == nil
	case "format":
		holds := jsonschema.Formats[demanded]
		d.texts = append(d.texts, func(s string) bool { return holds(s) })
		return holds != nil
	default:
		return false
	}
}
