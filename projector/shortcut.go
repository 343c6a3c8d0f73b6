package projector

import (
	"encoding/json"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// shortcut is a schema made into checks that only hold for values which are certain to pass it. Most messages
// pass, and need no list of what is wrong with them; the validator, which makes that list, takes nine times as
// long to find nothing. Whatever the shortcut does not know or cannot be sure of is left to the validator.
type shortcut []func(value any) bool

// passes says whether a parsed value is certain to pass.
func (s shortcut) passes(value any) bool {
	for _, holds := range s {
		if !holds(value) {
			return false
		}
	}
	return true
}

// newShortcut makes a shortcut of a schema's JSON. There is none for a schema with a keyword that is not
// among those below.
func newShortcut(document any) (s shortcut, ok bool) {
	root, ok := document.(map[string]any)
	if !ok {
		return nil, false
	}
	root = maps.Clone(root)
	delete(root, "$id") // further down it would change what a reference means
	c := shortcutCompiler{document: document, referred: map[string]*shortcut{}}
	return c.compile(root)
}

type shortcutCompiler struct {
	document any
	referred map[string]*shortcut // by reference, and there before it is compiled: a schema may refer to itself
}

func (c *shortcutCompiler) compile(schema any) (s shortcut, ok bool) {
	keywords, ok := schema.(map[string]any)
	s = shortcut{}
	for keyword, demanded := range keywords {
		var holds func(any) bool
		switch keyword {
		case "$schema", "$defs", "title", "description":
			continue
		case "if":
			// What passes "then" passes both, whatever "if" says; "else" is not known here.
			continue
		case "then":
			holds = c.schema(demanded)
		case "$ref":
			holds = c.reference(demanded)
		case "properties":
			holds = c.properties(demanded)
		case "items":
			holds = c.items(demanded)
		default:
			holds = simple(keyword, demanded)
		}
		if holds == nil {
			return nil, false
		}
		s = append(s, holds)
	}
	return s, ok
}

func (c *shortcutCompiler) schema(demanded any) func(any) bool {
	s, ok := c.compile(demanded)
	if !ok {
		return nil
	}
	return s.passes
}

func (c *shortcutCompiler) reference(demanded any) func(any) bool {
	pointer, ok := strings.CutPrefix(demanded.(string), "#")
	if !ok {
		return nil
	}
	target, known := c.referred[pointer]
	if !known {
		target = new(shortcut)
		c.referred[pointer] = target
		if *target, ok = c.compile(lookup(c.document, pointer)); !ok {
			return nil
		}
	}
	return func(value any) bool { return target.passes(value) }
}

func (c *shortcutCompiler) properties(demanded any) func(any) bool {
	type property struct {
		name string
		s    shortcut
	}
	var properties []property
	for name, schema := range demanded.(map[string]any) {
		s, ok := c.compile(schema)
		if !ok {
			return nil
		}
		properties = append(properties, property{name, s})
	}
	return on(func(object map[string]any) bool {
		for _, p := range properties {
			if value, there := object[p.name]; there && !p.s.passes(value) {
				return false
			}
		}
		return true
	})
}

func (c *shortcutCompiler) items(demanded any) func(any) bool {
	s, ok := c.compile(demanded)
	if !ok {
		return nil
	}
	return on(func(array []any) bool {
		for _, value := range array {
			if !s.passes(value) {
				return false
			}
		}
		return true
	})
}

// simple is the check of a keyword that holds no schemas, nil when it is not known.
func simple(keyword string, demanded any) func(any) bool {
	switch demanded := demanded.(type) {
	case json.Number:
		bound, err := strconv.ParseInt(string(demanded), 10, 64)
		if err != nil {
			return nil
		}
		return bounded(keyword, bound)
	case string:
		return spelt(keyword, demanded)
	case []any:
		if keyword != "required" {
			return nil
		}
		return on(func(object map[string]any) bool {
			for _, name := range demanded {
				if _, there := object[name.(string)]; !there {
					return false
				}
			}
			return true
		})
	default:
		return nil
	}
}

func bounded(keyword string, bound int64) func(any) bool {
	switch keyword {
	case "minimum":
		return on(func(n json.Number) bool { i, ok := small(n); return ok && i >= bound })
	case "maximum":
		return on(func(n json.Number) bool { i, ok := small(n); return ok && i <= bound })
	case "minLength":
		return on(func(s string) bool { return utf8.RuneCountInString(s) >= int(bound) })
	case "maxLength":
		return on(func(s string) bool { return utf8.RuneCountInString(s) <= int(bound) })
	case "minItems":
		return on(func(array []any) bool { return len(array) >= int(bound) })
	case "maxItems":
		return on(func(array []any) bool { return len(array) <= int(bound) })
	default:
		return nil
	}
}

func spelt(keyword, demanded string) func(any) bool {
	switch keyword + " " + demanded {
	case "type object":
		return is[map[string]any]
	case "type array":
		return is[[]any]
	case "type string":
		return is[string]
	case "type integer":
		return func(value any) bool {
			n, number := value.(json.Number)
			_, ok := small(n)
			return number && ok
		}
	}
	switch keyword {
	case "format":
		return jsonschema.Formats[demanded]
	case "pattern":
		pattern, err := regexp.Compile(demanded)
		if err != nil {
			return nil
		}
		return on(pattern.MatchString)
	default:
		return nil
	}
}

// small reads an integer that is spelt as one and fits 64 bits; the validator knows the others.
func small(n json.Number) (int64, bool) {
	i, err := strconv.ParseInt(string(n), 10, 64)
	return i, err == nil
}

func is[T any](value any) bool {
	_, ok := value.(T)
	return ok
}

// on is a check of values of one type; as in JSON Schema it holds for all others.
func on[T any](holds func(T) bool) func(any) bool {
	return func(value any) bool {
		v, ok := value.(T)
		return !ok || holds(v)
	}
}
