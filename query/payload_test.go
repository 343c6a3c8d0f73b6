package query

import (
	"fmt"
	"strings"
	"testing"
)

// drawn is a payload as a page draws it, with «» around what is marked and what is wrong behind ◂.
func drawn(v payloadView) string {
	var b strings.Builder
	for _, line := range v.Lines {
		for _, part := range line.Parts {
			if part.Marked {
				part.Text = "«" + part.Text + "»"
			}
			b.WriteString(part.Text)
		}
		for _, fault := range line.Faults {
			b.WriteString(" ◂ " + fault)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestPayloadMarksWhatIsWrong(t *testing.T) {
	t.Parallel()
	at := func(offset int) string {
		return fmt.Sprintf("The message is not strict JSON: a fault, at byte %d.", offset)
	}
	fault := []violation{{"/b", "json", "a fault"}}
	for name, c := range map[string]struct {
		payload, sentence string
		violations        []violation
		form, want        string
	}{
		"values, in their own order and spelling": {
			payload:    `{"b":1.50e0,  "a":["\u0041",{"x":null}],"e":{},"f":[]}`,
			violations: []violation{{"/b", "type", "is no text"}, {"/a/1/x", "type", "is null"}, {"/e", "minProperties", "is empty"}},
			form:       "JSON",
			want: "{\n  \"b\": «1.50e0», ◂ is no text\n  \"a\": [\n    \"\\u0041\",\n    {\n      \"x\": «null» ◂ is null\n    }\n  ],\n" +
				"  \"e\": «{»}, ◂ is empty\n  \"f\": []\n}\n",
		},
		"what is missing, where it is missing": {
			payload:    `{"a":{"b":1},"c":[1]}`,
			violations: []violation{{"/a/x", "required", "is missing"}, {"/c/1/y", "required", "is missing"}, {"/z", "required", "is missing"}},
			form:       "JSON",
			want:       "«{» ◂ z is missing\n  \"a\": «{» ◂ x is missing\n    \"b\": 1\n  },\n  \"c\": «[» ◂ 1/y is missing\n    1\n  ]\n}\n",
		},
		"escaped names": {
			payload: `{"a/b":{"~":2}}`, violations: []violation{{"/a~1b/~0", "maximum", "is too much"}},
			form: "JSON", want: "{\n  \"a/b\": {\n    \"~\": «2» ◂ is too much\n  }\n}\n",
		},
		"the whole": {payload: ` 42 `, violations: []violation{{"", "type", "is no object"}}, form: "JSON", want: "«42» ◂ is no object\n"},
		"a key that stands twice": {
			payload: `{"b":1,"b":2}`, sentence: at(7), violations: fault,
			form: "JSON", want: "{\n  \"b\": 1,\n  «\"b\"»: 2 ◂ a fault\n}\n",
		},
		"a syntax error":           {payload: "{\n\t\"b\": +1\n}", sentence: at(8), violations: fault, form: "Text", want: "{\n\t\"b\": «+»1 ◂ a fault\n}\n"},
		"an error inside a letter": {payload: `ж`, sentence: at(1), violations: fault, form: "Text", want: "«ж» ◂ a fault\n"},
		"an early end":             {payload: `{"b":`, sentence: at(5), violations: fault, form: "Text", want: "{\"b\": ◂ a fault\n"},
		"an early end of a line":   {payload: "{\n", sentence: at(2), violations: fault, form: "Text", want: "{ ◂ a fault\n"},
		"nothing at all":           {payload: "", sentence: at(0), violations: fault, form: "Text", want: " ◂ a fault\n"},
		"two values":               {payload: `{} {}`, sentence: at(3), violations: fault, form: "Text", want: "{} «{»} ◂ a fault\n"},
		"no text": {
			payload: "{\"b\": \"\xff\x00\"}0123456789", sentence: at(7), violations: fault, form: "Bytes",
			want: "00000000  7b 22 62 22 3a 20 22 «ff» 00 22 7d 30 31 32 33 34  {\"b\": \"«.».\"}01234 ◂ a fault\n" +
				"00000010  35 36 37 38 39                                   56789\n",
		},
	} {
		v := newPayloadView([]byte(c.payload), c.sentence, c.violations)
		if got := drawn(v); got != c.want || v.Form != c.form || v.Cut || v.Unmarked != 0 {
			t.Errorf("%s is drawn as %s, cut %t, %d unmarked:\n%swant\n%s", name, v.Form, v.Cut, v.Unmarked, got, c.want)
		}
	}
}

func TestWhatIsTooMuchForAPageIsCut(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000)
	for name, payload := range map[string]string{
		"lines": "[" + strings.Repeat("1,", 40_000) + "1]", "one line": `"` + strings.Repeat("ж", 100_000) + `"`,
		"text": strings.Repeat("x", 100_000), "lines of text": strings.Repeat("x\n", 5000), "bytes": strings.Repeat("\x00", 10_000),
		"deep": deep, "deeper": strings.Repeat(deep, 20), "values": "[" + strings.Repeat("1,", maxPieces) + "1]",
	} {
		v := newPayloadView([]byte(payload), "", []violation{{"/39999", "type", "is wrong"}})
		if got := drawn(v); !v.Cut || len(got) > 2*maxShownBytes || len(v.Lines) > maxShownLines {
			t.Errorf("%s: cut %t, %d bytes in %d lines", name, v.Cut, len(got), len(v.Lines))
		}
		if name == "lines" && v.Unmarked != 1 {
			t.Errorf("%d violations are said to be further on", v.Unmarked)
		}
	}
	v := newPayloadView([]byte(strings.Repeat("\x00", 100_000)), "… at byte 50000.", []violation{{"", "json", "is wrong"}})
	if !strings.Contains(drawn(v), "◂ is wrong") {
		t.Error("the bytes around the fault are not shown")
	}
}

func TestOnlyTextIsOfferedForAmending(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]string{
		`{"a":1}`: "{\n  \"a\": 1\n}", "{a": "{a", "": "", "\xff": "", "a\x00": "", strings.Repeat("x", maxEditable+1): "",
	} {
		v := newPayloadView([]byte(payload), "", nil)
		if v.Editable != want || v.IsText != (want != "" || payload == "") {
			t.Errorf("%.20q is offered as %.20q, text %t", payload, v.Editable, v.IsText)
		}
	}
}
