package projector

import (
	"encoding/json"
	"strings"
	"testing"

	"orderbox/publisher"
)

func TestTheShortcutPassesOnlyWhatTheSchemaPasses(t *testing.T) {
	s := mustSchema(t)
	payloads := [][]byte{mustModelFile(t), []byte("null"), []byte("5"), []byte(`"a"`), []byte("[]"), []byte("{}")}
	for pointer := range strings.FieldsSeq("/order_uid /delivery /delivery/phone /delivery/email /payment/currency /payment/amount " +
		"/payment/payment_dt /items /items/0/sale /items/0/nm_id /items/0/brand /sm_id /date_created /unknown") {
		for _, value := range []any{nil, false, "", "a", "a\x00b", "USD", "+9720000000", "2021-02-28T00:00:00Z", strings.Repeat("я", 201),
			-1, 0, 101, 1.5, json.RawMessage("5.0"), json.RawMessage("1e3"), json.RawMessage("9223372036854775807"),
			json.RawMessage("9223372036854775808"), []any{}, make([]struct{}, 1001), struct{}{}} {
			payloads = append(payloads, mustVary(t, pointer, value))
		}
	}
	for m := range publisher.Messages(2, 1000, 0.5) {
		payloads = append(payloads, m.Payload)
		if m.Verdict != publisher.VerdictOrder {
			continue
		}
		if value, err := parse(m.Payload); err != nil || !s.shortcut.passes(value) {
			t.Fatalf("a made-up order does not pass the shortcut: %s", m.Payload)
		}
	}
	passed := 0
	for _, payload := range payloads {
		value, err := parse(payload)
		if err != nil || !s.shortcut.passes(value) {
			continue
		}
		passed++
		if err := s.compiled.Validate(value); err != nil {
			t.Errorf("the shortcut passes %s: %v", payload, err)
		}
	}
	if passed == len(payloads) {
		t.Error("the shortcut passes everything")
	}
}

func TestASchemaThatIsNotKnownWholeHasNoShortcut(t *testing.T) {
	for _, source := range []string{
		`true`, `{"else":{}}`, `{"enum":[1]}`, `{"type":["string","null"]}`, `{"type":"number"}`, `{"format":"postcode"}`, `{"minimum":1.5}`,
		`{"properties":{"a":{"const":1}}}`, `{"items":{"uniqueItems":true}}`, `{"properties":{"a":{"$id":"urn:b","maxLength":1}}}`,
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
