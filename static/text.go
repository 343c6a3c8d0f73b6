package static

import (
	"fmt"
	"math/big"
	"strings"
	"time"

	"golang.org/x/text/feature/plural"
)

// Text is what a page says, until it is known in which language. Nil says nothing.
type Text struct {
	format string // in English, with a %s for each argument
	args   []any
}

// Say makes a text of its English. Arguments are other texts, numbers, Counts, Bytes, times, and strings, which stay
// as they are. Each English is in the catalogue; a test finds those that are not, and reads them in the source.
func Say(english string, args ...any) *Text { return &Text{english, args} }

// Told makes a text of one that comes from elsewhere. It stays as it is when the catalogue does not have it.
func Told(english string) *Text { return &Text{strings.ReplaceAll(english, "%", "%%"), nil} }

// Join puts texts one after another.
func Join(parts ...*Text) *Text {
	t := new(Text)
	for _, part := range parts {
		if part == nil {
			continue
		}
		if t.args = append(t.args, part); t.format != "" {
			t.format += " "
		}
		t.format += "%s"
	}
	return t
}

// Count is a number of things, such as 2 orders. The noun is in the singular.
type Count struct {
	N    int64
	Noun string
}

// Bytes is a size, such as 1.5 KiB.
type Bytes int64

// Text writes what a template or a Text may hold, and nothing else. A string is a key of the catalogue as a format, and no argument is.
func (l *Language) Text(v any, args ...any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return l.fill(l.format(v), args)
	case *Text:
		if v == nil {
			return "", nil
		}
		return l.fill(l.format(v.format), v.args)
	}
	return l.value(v)
}

// format returns a text's format in the language, the English one when there is none.
func (l *Language) format(english string) string {
	if known, ok := l.texts[english]; ok {
		return known
	}
	return english
}

func (l *Language) fill(format string, args []any) (string, error) {
	said := make([]any, len(args))
	for i, arg := range args {
		text, err := l.value(arg)
		if err != nil {
			return "", err
		}
		said[i] = text
	}
	return fmt.Sprintf(format, said...), nil
}

func (l *Language) value(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case *Text:
		return l.Text(v)
	case int:
		return l.number(big.NewInt(int64(v))), nil
	case int64:
		return l.number(big.NewInt(v)), nil
	case *big.Int:
		return l.number(v), nil
	case time.Time:
		return l.time(v), nil
	case Count:
		return l.count(v), nil
	case *Count:
		if v == nil {
			return "", nil
		}
		return l.count(*v), nil
	case Bytes:
		return l.bytes(v), nil
	}
	return "", fmt.Errorf("a %T is nothing that a page could say", v)
}

// number spells a number in groups of three digits.
func (l *Language) number(n *big.Int) string {
	if n == nil {
		return ""
	}
	digits, sign := new(big.Int).Abs(n).String(), ""
	if n.Sign() < 0 {
		sign = "−"
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + l.group + digits[at:]
	}
	return sign + digits
}

// count spells a number of things, in the form that the number takes.
func (l *Language) count(c Count) string {
	const lastDigits = 1_000_000 // are enough to decide by
	form := plural.Cardinal.MatchPlural(l.tag, int(c.N%lastDigits), 0, 0, 0, 0)
	noun, ok := l.nouns[c.Noun][form]
	switch {
	case ok:
	case form == plural.One || l.nouns != nil:
		noun = c.Noun
	default:
		noun = c.Noun + "s"
	}
	return l.number(big.NewInt(c.N)) + " " + noun
}

func (l *Language) bytes(n Bytes) string {
	switch {
	case n < 1<<10:
		return l.count(Count{int64(n), "byte"})
	case n < 1<<20:
		return strings.Replace(fmt.Sprintf("%.1f", float64(n)/(1<<10)), ".", l.decimal, 1) + " " + l.format("KiB")
	}
	return l.number(big.NewInt(int64(n>>20))) + l.decimal + fmt.Sprint(int64(n)%(1<<20)*10>>20) + " " + l.format("MiB")
}

// time spells a moment such as 26 Nov 2021, 06:22:19 UTC.
func (l *Language) time(t time.Time) string {
	t = t.UTC()
	return fmt.Sprintf("%d %s %s", t.Day(), l.months[t.Month()-1], t.Format("2006, 15:04:05 UTC"))
}
