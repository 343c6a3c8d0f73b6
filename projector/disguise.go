package projector

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// disguise puts another letter in the place of each letter, and another digit in that of each digit.
func disguise(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= '0' && c <= '9':
			return '1'
		case c < utf8.RuneSelf && unicode.IsUpper(c):
			return 'X'
		case c < utf8.RuneSelf && unicode.IsLower(c):
			return 'x'
		case unicode.IsLetter(c) || unicode.IsNumber(c):
			return 'я'
		}
		return c
	}, text)
}

// syntax finds what letters and digits stand for in JSON beside themselves: escapes, literals, exponents.
var syntax = regexp.MustCompile(`(?s)\\u[0-9a-fA-F]{4}|\\[a-z]|\b(?:true|false|null)\b|[0-9][eE][+-]?[0-9]|.`)

// disguiseJSON is disguise of what is or should be JSON: it leaves the syntax and invalid bytes as they are.
func disguiseJSON(text string) string {
	return syntax.ReplaceAllStringFunc(text, func(piece string) string {
		switch {
		case !utf8.ValidString(piece):
			return piece
		case utf8.RuneCountInString(piece) == 1:
			return disguise(piece)
		case len(piece) == len(`\u0000`):
			return disguiseEscape(piece)
		case piece[0] >= '0' && piece[0] <= '9':
			return "1e" + disguise(piece[2:])
		}
		return piece
	})
}

// disguiseEscape keeps what is no character by itself: half a surrogate pair, and controls.
func disguiseEscape(escape string) string {
	if strings.EqualFold(escape[:4], `\u00`) && escape[4] < '2' || strings.EqualFold(escape[:3], `\ud`) && escape[3] >= '8' {
		return escape
	}
	return `\u044f`
}

// disguised is a copy of a parsed value with every text and number in it disguised, and the keys as they are.
func disguised(value any, digit string) any {
	switch value := value.(type) {
	case map[string]any:
		object := make(map[string]any, len(value))
		for name, part := range value {
			object[name] = disguised(part, digit)
		}
		return object
	case []any:
		array := make([]any, len(value))
		for i, part := range value {
			array[i] = disguised(part, digit)
		}
		return array
	case string:
		return disguise(value)
	case json.Number:
		return disguisedNumber(value, digit)
	}
	return value
}

func disguisedNumber(n json.Number, digit string) json.Number {
	return json.Number(strings.ReplaceAll(disguiseJSON(string(n)), "1", digit))
}

// tellingLength is how many characters of a message, one after another, may tell something about somebody.
const tellingLength = 4

// tells says whether so many are left of a text.
func tells(text string) bool {
	left := 0
	for i, c := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case disguise(string(c)) == text[i:i+size] || c == utf8.RuneError || c == '9' || c == '0':
			left = 0
		case left+1 == tellingLength:
			return true
		default:
			left++
		}
	}
	return false
}

// tellsJSON is tells of what is or should be JSON.
func tellsJSON(text string) bool {
	return tells(syntax.ReplaceAllStringFunc(text, func(piece string) string {
		if utf8.RuneCountInString(piece) > 1 && disguiseJSON(piece) == piece {
			return " "
		}
		return piece
	}))
}

// tellsValue is tells of a parsed value; the names that the schema knows tell nothing.
func tellsValue(value any, known map[string]bool) bool {
	switch value := value.(type) {
	case map[string]any:
		for name, part := range value {
			if !known[name] && tells(name) || tellsValue(part, known) {
				return true
			}
		}
	case []any:
		for _, part := range value {
			if tellsValue(part, known) {
				return true
			}
		}
	case string:
		return tells(value)
	case json.Number:
		return tellsJSON(string(value))
	}
	return false
}

// names collects every key and every text of a schema, and with them the names of the fields it knows.
func names(schema any, found map[string]bool) map[string]bool {
	switch schema := schema.(type) {
	case map[string]any:
		for name, part := range schema {
			found[name] = true
			names(part, found)
		}
	case []any:
		for _, part := range schema {
			names(part, found)
		}
	case string:
		found[schema] = true
	}
	return found
}
