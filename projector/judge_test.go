package projector

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"orderbox/inbox"
	"orderbox/publisher"
)

func mustSchema(tb testing.TB) *schema {
	tb.Helper()
	s, err := newSchema(orderSchema)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// mustModel is the reference order as parsed JSON, for a test to vary.
func mustModel(tb testing.TB) map[string]any {
	tb.Helper()
	var order map[string]any
	if err := json.Unmarshal(mustModelFile(tb), &order); err != nil {
		tb.Fatal(err)
	}
	return order
}

func mustModelFile(tb testing.TB) []byte {
	tb.Helper()
	model, err := os.ReadFile("../publisher/model.json")
	if err != nil {
		tb.Fatal(err)
	}
	return model
}

// mustVary is the reference order with the value at a JSON Pointer replaced, or removed if it is nil.
func mustVary(tb testing.TB, pointer string, value any) []byte {
	tb.Helper()
	order := mustModel(tb)
	names := strings.Split(pointer[1:], "/")
	parent := any(order)
	for _, name := range names[:len(names)-1] {
		parent = lookup(parent, "/"+name)
	}
	if value == nil {
		delete(parent.(map[string]any), names[len(names)-1])
	} else {
		parent.(map[string]any)[names[len(names)-1]] = value
	}
	return mustJSON(tb, order)
}

func mustJSON(tb testing.TB, value any) []byte {
	tb.Helper()
	b, err := json.Marshal(value)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// compact is JSON without white space; a served order is the model, field for field in its order.
func compact(tb testing.TB, b []byte) string {
	tb.Helper()
	var out strings.Builder
	inString := false
	for i, c := range string(b) {
		if c == '"' && (i == 0 || b[i-1] != '\\') {
			inString = !inString
		}
		if inString || !strings.ContainsRune(" \t\r\n", c) {
			out.WriteRune(c)
		}
	}
	return out.String()
}

func TestTheReferenceModelPassesAndComesBackInItsOrder(t *testing.T) {
	model := mustModelFile(t)
	j := mustSchema(t).judge(inbox.Entry{Position: 1, Payload: model})
	if j.dead != nil {
		t.Fatalf("dead letter: %s", j.dead.sentence)
	}
	if got, want := string(j.order.JSON()), compact(t, model); got != want {
		t.Errorf("the order comes back as\n%s\nwant\n%s", got, want)
	}
}

func TestWhatASchemaAllowsIsAccepted(t *testing.T) {
	s := mustSchema(t)
	for name, payload := range map[string][]byte{
		"uid of 64 characters":          mustVary(t, "/order_uid", strings.Repeat("я", 64)),
		"address of 200 characters":     mustVary(t, "/delivery/address", strings.Repeat("🏠", 200)),
		"cyrillic name":                 mustVary(t, "/delivery/name", "Пётр Ильич"),
		"largest amount":                mustVary(t, "/payment/amount", json.RawMessage("9223372036854775807")),
		"integer with a fraction of 0":  mustVary(t, "/payment/amount", json.RawMessage("1817.0")),
		"integer with an exponent":      mustVary(t, "/payment/amount", json.RawMessage("1.817e3")),
		"negative zero":                 mustVary(t, "/payment/custom_fee", json.RawMessage("-0")),
		"unknown field":                 mustVary(t, "/coupon", "SPRING"),
		"unknown field of another case": mustVary(t, "/ORDER_UID", 5),
		"unknown field with U+0000":     mustVary(t, "/remark", "a\x00b"),
		"leap second":                   mustVary(t, "/date_created", "2016-12-31T23:59:60Z"),
		"time with a fraction":          mustVary(t, "/date_created", "2021-11-26T06:22:19.123456789+03:00"),
		"an id with everything in it":   mustVary(t, "/order_uid", "a/b c%2F..?#\u202e'\"<&"),
	} {
		if j := s.judge(inbox.Entry{Position: 1, Payload: payload}); j.dead != nil {
			t.Errorf("%s: %s %v", name, j.dead.sentence, j.dead.violations)
		}
	}
}

func TestViolationsNameTheirPlace(t *testing.T) {
	s := mustSchema(t)
	for name, c := range map[string]struct {
		payload []byte
		place   string
		keyword string
	}{
		"missing field":         {mustVary(t, "/payment/amount", nil), "/payment/amount", "required"},
		"missing object":        {mustVary(t, "/delivery", nil), "/delivery", "required"},
		"wrong type":            {mustVary(t, "/sm_id", "99"), "/sm_id", "type"},
		"fraction":              {mustVary(t, "/payment/amount", 1.5), "/payment/amount", "type"},
		"decimal string":        {mustVary(t, "/payment/amount", "18.17"), "/payment/amount", "type"},
		"negative amount":       {mustVary(t, "/items/0/price", -1), "/items/0/price", "minimum"},
		"beyond 64 bits":        {mustVary(t, "/items/0/nm_id", json.RawMessage("9223372036854775808")), "/items/0/nm_id", "maximum"},
		"U+0000":                {mustVary(t, "/delivery/city", "a\x00b"), "/delivery/city", "pattern"},
		"uid of 65 characters":  {mustVary(t, "/order_uid", strings.Repeat("a", 65)), "/order_uid", "maxLength"},
		"empty uid":             {mustVary(t, "/order_uid", ""), "/order_uid", "minLength"},
		"30 February":           {mustVary(t, "/date_created", "2021-02-30T00:00:00Z"), "/date_created", "format"},
		"year 10000":            {mustVary(t, "/date_created", "10000-01-01T00:00:00Z"), "/date_created", "format"},
		"no date":               {mustVary(t, "/date_created", "soon"), "/date_created", "format"},
		"no e-mail":             {mustVary(t, "/delivery/email", "nobody"), "/delivery/email", "format"},
		"no items":              {mustVary(t, "/items", []any{}), "/items", "minItems"},
		"currency":              {mustVary(t, "/payment/currency", "usd"), "/payment/currency", "pattern"},
		"null":                  {[]byte("null"), "", "type"},
		"an order in an array":  {mustJSON(t, []any{mustModel(t)}), "", "type"},
		"far too many items":    {mustVary(t, "/items", make([]struct{}, 50_000)), "/items", "maxItems"},
		"far too many problems": {mustVary(t, "/items", make([]struct{}, 1000)), "/items/0/brand", "required"},
	} {
		j := s.judge(inbox.Entry{Position: 1, Payload: c.payload})
		if j.dead == nil || j.dead.reason != reasonInvalid {
			t.Errorf("%s: not invalid: %+v", name, j.dead)
			continue
		}
		v := j.dead.violations[0]
		if v.Pointer != c.place || v.Keyword != c.keyword || len(j.dead.violations) > maxViolations {
			t.Errorf("%s: %d violations, the first %+v, want %s at %q", name, len(j.dead.violations), v, c.keyword, c.place)
		}
	}
}

// hostile is what is no strict JSON, however much it looks like it.
var hostile = map[string]string{
	"empty":                     "",
	"white space":               " \n",
	"NUL bytes":                 "\x00\x00",
	"text":                      "hello",
	"truncated":                 `{"order_uid":"a`,
	"two values":                `{} {}`,
	"trailing data":             `{}x`,
	"duplicate key":             `{"a":1,"a":2}`,
	"duplicate key, escaped":    `{"a":1,"\u0061":2}`,
	"invalid UTF-8":             "{\"a\":\"\xff\"}",
	"lone surrogate":            `{"a":"\ud800"}`,
	"byte order mark":           "\ufeff{}",
	"number beyond a double":    `{"a":1e400}`,
	"costly exponent":           `{"a":1e999999999}`,
	"costly negative exponent":  `{"a":-1e-999999999}`,
	"number of 1000 digits":     `{"a":` + strings.Repeat("9", 1000) + `}`,
	"leading zero":              `{"a":01}`,
	"NaN":                       `{"a":NaN}`,
	"comment":                   `{/**/}`,
	"single quotes":             `{'a':1}`,
	"100,000 levels of arrays":  strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000),
	"200,000 small objects":     `[` + strings.Repeat(`{"":0},`, 200_000) + `0]`,
	"100,000 levels of objects": strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000),
}

func TestOnlyStrictJSONIsRead(t *testing.T) {
	s := mustSchema(t)
	for name, payload := range hostile {
		j := s.judge(inbox.Entry{Position: 1, Payload: []byte(payload)})
		if j.dead == nil || j.dead.reason != reasonMalformed {
			t.Errorf("%s: not malformed: %+v", name, j.dead)
		}
	}
	if _, err := parse([]byte(strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth))); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
}

func TestAVerdictQuotesNothingOfTheMessage(t *testing.T) {
	const secret = "S3CRET"
	s := mustSchema(t)
	payloads := [][]byte{[]byte(`{"` + secret + `":1,"` + secret + `":2}`), []byte(secret), []byte(`{"a":"` + secret)}
	for _, field := range []string{"/delivery/email", "/delivery/phone", "/payment/amount", "/payment/currency", "/date_created", "/items"} {
		payloads = append(payloads, mustVary(t, field, secret))
	}
	for _, p := range payloads {
		dead := s.judge(inbox.Entry{Position: 1, Payload: p}).dead
		if dead == nil {
			t.Fatalf("%s is accepted", p)
		}
		for _, v := range dead.violations {
			if strings.Contains(dead.sentence+v.Message, secret) {
				t.Errorf("the verdict on %s quotes it: %s %+v", p, dead.sentence, v)
			}
		}
	}
}

func TestJudgingIsDeterministic(t *testing.T) {
	s := mustSchema(t)
	payload := []byte(`{"items":[{},{"price":"x"}],"payment":{},"delivery":5}`)
	first := s.judge(inbox.Entry{Position: 1, Payload: payload})
	for range 50 {
		if again := s.judge(inbox.Entry{Position: 1, Payload: payload}); !slices.Equal(again.dead.violations, first.dead.violations) {
			t.Fatalf("%v\nand then\n%v", first.dead.violations, again.dead.violations)
		}
	}
}

func TestEveryReasonIsInTheCatalogueOnce(t *testing.T) {
	codes := map[reason]int{}
	for _, r := range reasons {
		codes[r.code]++
		if r.sentence == "" || r.help == "" {
			t.Errorf("%s lacks a sentence or a help", r.code)
		}
	}
	for _, dead := range []*deadLetter{malformedLetter(&malformed{}), invalidLetter([]violation{{}}, 0), conflictLetter(1), refusedLetter("22000"), unjudgedLetter()} {
		if codes[dead.reason] != 1 {
			t.Errorf("%s is in the catalogue %d times", dead.reason, codes[dead.reason])
		}
		delete(codes, dead.reason)
	}
	if len(codes) > 0 {
		t.Errorf("no verdict has the reasons %v", slices.Collect(maps.Keys(codes)))
	}
}

// The tables of a generation depend on this code as well. When this fails, the change is meant or not: if
// it is, raise judgementVersion and put the new hash here.
func TestAChangedJudgementIsANewGeneration(t *testing.T) {
	s := mustSchema(t)
	h := sha256.New()
	look := func(payload []byte) {
		j := s.judge(inbox.Entry{Position: 1, Payload: payload})
		fmt.Fprintln(h, j.created, j.digest)
		if j.dead != nil {
			fmt.Fprintln(h, *j.dead)
		}
	}
	for m := range publisher.Messages(1, 1000, 0.5) {
		look(m.Payload)
	}
	for _, name := range slices.Sorted(maps.Keys(hostile)) {
		look([]byte(hostile[name]))
	}
	fmt.Fprintln(h, *conflictLetter(1), *refusedLetter("22000"))
	const want = "2 f4db40d352728f59"
	if got := judgementVersion + " " + hex.EncodeToString(h.Sum(nil)[:8]); got != want {
		t.Errorf("judgements are now %q, were %q", got, want)
	}
}

// The limit is parsing and validating once each; see docs/DECISIONS.md.
func BenchmarkJudge(b *testing.B) {
	s, entry := mustSchema(b), inbox.Entry{Position: 1, Payload: mustModelFile(b)}
	b.ReportAllocs()
	for b.Loop() {
		if s.judge(entry).dead != nil {
			b.Fatal("the model is refused")
		}
	}
}
