package projector

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"orderbox/publisher"
)

func TestTheShortcutLeadsWhereTheLongWayLeads(t *testing.T) {
	s := mustSchema(t)
	payloads := [][]byte{mustModelFile(t), []byte("null"), []byte("5"), []byte(`"a"`), []byte("[]"), []byte("{}"),
		bytes.Replace(mustModelFile(t), []byte(`"entry"`), []byte(`"\u0065ntry"`), 1), append(mustModelFile(t), '1'),
		bytes.Replace(mustModelFile(t), []byte(`"entry"`), []byte(`"more": {"a": [1, {"a": null}], "b": 1e999}, "entry"`), 1),
		bytes.Replace(mustModelFile(t), []byte(`"entry"`), []byte(`"more": {"a": [1, {"a": null}]}, "entry"`), 1),
		bytes.Replace(mustModelFile(t), []byte(`"entry"`), []byte(`"locale": "en", "entry"`), 1)}
	for pointer := range strings.FieldsSeq("/order_uid /delivery /delivery/phone /delivery/email /payment/currency /payment/amount " +
		"/payment/payment_dt /items /items/0/sale /items/0/nm_id /items/0/brand /sm_id /date_created /unknown") {
		for _, value := range []any{nil, false, "", "a", "a\x00b", "USD", "+9720000000", "2021-02-28T00:00:00Z", strings.Repeat("я", 201),
			-1, 0, 101, 1.5, json.RawMessage("5.0"), json.RawMessage("1e3"), json.RawMessage("9223372036854775807"),
			json.RawMessage("9223372036854775808"), json.RawMessage("-0"), []any{}, make([]struct{}, 1001), struct{}{}} {
			payloads = append(payloads, mustVary(t, pointer, value))
		}
	}
	for m := range publisher.Messages(2, 1000, 0.5) {
		payloads = append(payloads, m.Payload)
		if m.Verdict == publisher.VerdictOrder && s.shortcut.order(m.Payload) == nil {
			t.Fatalf("a made-up order does not take the shortcut: %s", m.Payload)
		}
	}
	// Together they are too many values, and what is left when the order begins is not.
	payloads = append(payloads, bytes.Replace(mustModelFile(t), []byte(`{`),
		[]byte(`{"more": [`+strings.Repeat("0,", maxValues-40)+`0],`), 1))
	took := 0
	for _, payload := range payloads {
		if mustGoTheLongWayToo(t, s, payload) {
			took++
		}
	}
	if took == len(payloads) {
		t.Error("everything takes the shortcut")
	}
}

// mustGoTheLongWayToo says whether the payload takes the shortcut. If so, the long way leads to the same order.
func mustGoTheLongWayToo(t *testing.T, s *schema, payload []byte) bool {
	t.Helper()
	order := s.shortcut.order(payload)
	if order == nil {
		return false
	}
	long := *s
	long.shortcut = nil
	if want, dead := long.read(payload); dead != nil || !reflect.DeepEqual(order, want) {
		t.Fatalf("%q takes the shortcut to %+v; the long way it becomes %+v, %+v", payload, order, want, dead)
	}
	return true
}

func TestASchemaThatIsNotKnownWholeHasNoShortcut(t *testing.T) {
	for _, source := range []string{
		`true`, `{"else":{}}`, `{"enum":[1]}`, `{"type":["string","null"]}`, `{"type":"number"}`, `{"format":"postcode"}`, `{"minimum":1.5}`,
		`{"properties":{"entry":{"const":"a"}}}`, `{"properties":{"items":{"uniqueItems":true}}}`,
		`{"properties":{"entry":{"$id":"urn:b","maxLength":1}}}`, `{"properties":{"sm_id":{"type":["integer","string"]}}}`,
		`{"properties":{"entry":{"type":"integer"}}}`, `{"properties":{"nobody's":{"maxLength":1}}}`, `{"required":["nobody's"]}`,
		`{"properties":{"entry":{"format":"postcode"}}}`, `{"properties":{"sm_id":{"minimum":1.5}}}`,
		`{"$ref":"#/$defs/a","$defs":{"a":{"multipleOf":2}}}`, `{"$ref":"#a","$defs":{"a":{"$anchor":"a","maxLength":1}}}`,
	} {
		s, err := newSchema([]byte(source))
		if err != nil {
			t.Errorf("%s: %v", source, err)
		} else if s.shortcut != nil {
			t.Errorf("%s has a shortcut", source)
		}
	}
}
