package projector

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"orderbox/inbox"
)

// looseSchema forgets the bounds that the columns need, looks at keys that nobody knows beforehand, and quotes
// what no row can hold. Whoever deploys a schema may write one like it.
const looseSchema = `{
	"type": "object",
	"required": ["order_uid", "date_created"],
	"properties": {
		"date_created": {"type": "string"},
		"tags": {"additionalProperties": {"type": "object", "required": ["a/b", "c"]}, "propertyNames": {"maxLength": 5000}},
		"quoted": {"pattern": "^[^\u0000]*$"},
		"never\u0000": false
	},
	"dependentRequired": {"x\u0000": ["y"]}
}`

// newLooseSchema compiles it.
func newLooseSchema(tb testing.TB) *schema {
	tb.Helper()
	s, err := newSchema([]byte(looseSchema))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// noise is a text that no index can compress.
func noise(length int) string {
	r := rand.New(rand.NewPCG(1, 2))
	text := make([]rune, length)
	for i := range text {
		text[i] = rune('а' + r.IntN(32))
	}
	return string(text)
}

// Law 6, whatever schema was deployed: what it should have refused, the database does.
func TestALooseSchemaDelaysNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	tag := func(name, value string) []byte {
		return fmt.Appendf(nil, `{"order_uid":"tagged","date_created":"2021-02-28T00:00:00Z","tags":{"%s":%s}}`, name, value)
	}
	none := mustModel(t)
	none["order_uid"] = "none"
	delete(none, "items")
	cases := []struct {
		payload []byte
		want    string
	}{
		{mustModelFile(t), "order"},
		{mustVary(t, "/order_uid", "a\x00b"), "refused database"},
		{mustVary(t, "/order_uid", noise(10_000)), "refused database"},
		{mustVary(t, "/order_uid", noise(500)), "order"},
		{tag(`x\u0000y`, "5"), "invalid type /tags/x\ufffdy"},
		{tag(noise(4000), "5"), "invalid type /tags/" + noise(97) + "…"},
		{tag(noise(6000), `{"a/b":1,"c":2}`), "invalid maxLength /tags/" + noise(97) + "…"},
		{tag("x y~1/%20я", `{"a/b":1}`), "invalid required /tags/x y~01~1%20я/c"},
		{tag("x", `{"c":1}`), "invalid required /tags/x/a~1b"},
		{mustVary(t, "/quoted", "\x00"), "invalid pattern /quoted"},
		{mustVary(t, "/never\x00", 1), "invalid never\ufffd /never\ufffd"},
		{mustVary(t, "/x\x00", 1), "invalid 0 "},
		{mustVary(t, "/date_created", "soon"), "invalid format "},
		{mustJSON(t, none), "order"},
		{mustModelFile(t), "duplicate"},
	}
	var want []string
	for _, c := range cases {
		h.receive(t, c.payload)
		want = append(want, c.want)
	}
	p := h.newProjector(t, 100)
	p.schema = newLooseSchema(t)
	h.run(t, p)
	h.await(t)
	got := strings.Split(h.view(t, `
		select concat_ws(' ', v.verdict, d.violations->0->>'keyword', d.violations->0->>'pointer')
		from (`+strings.Replace(verdictsSQL, "select ", "select i.position, ", 1)+`) as v (position, verdict)
		left join dead_letters as d on d.position = v.position
		order by v.position`), "\n")
	for i := range want {
		if strings.TrimSpace(got[i]) != strings.TrimSpace(want[i]) {
			t.Errorf("message %d is %.300q, want %.300q", i+1, got[i], want[i])
		}
	}
}

// An order is served from rows, and no rows are an empty list.
func TestAnOrderWithoutItemsIsWhatItIsServedAs(t *testing.T) {
	t.Parallel()
	s := newLooseSchema(t)
	empty := s.judge(inbox.Entry{Payload: mustVary(t, "/items", []any{})})
	for name, payload := range map[string][]byte{"null": mustVary(t, "/items", []any(nil)), "missing": mustVary(t, "/items", nil)} {
		if j := s.judge(inbox.Entry{Payload: payload}); j.dead != nil || j.digest != empty.digest {
			t.Errorf("%s: %+v is another order than one with no items: %s", name, j.dead, j.order.JSON())
		}
	}
}
