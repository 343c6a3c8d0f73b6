package query

import (
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"

	"orderbox"
)

func TestTextsAreEncodedAsInTheModel(t *testing.T) {
	t.Parallel()
	for from := rune(0); from < utf8.MaxRune; from += 100 {
		var text []byte
		for r := from; r < from+100; r++ {
			text = utf8.AppendRune(text, r)
		}
		var want struct {
			Entry json.RawMessage `json:"entry"`
		}
		if err := json.Unmarshal((&orderbox.Order{Entry: string(text)}).JSON(), &want); err != nil {
			t.Fatal(err)
		}
		if got := appendString(nil, text); string(got) != string(want.Entry) {
			t.Fatalf("from %U: %s, want %s", from, got, want.Entry)
		}
	}
}

// A field of a kind that no column is encoded for must not come into the model unnoticed.
func TestTheModelHasNoOtherKinds(t *testing.T) {
	t.Parallel()
	var visit func(reflect.Type)
	visit = func(of reflect.Type) {
		for f := range of.Fields() {
			switch f.Type.Kind() {
			case reflect.String, reflect.Int64:
			case reflect.Struct:
				visit(f.Type)
			case reflect.Slice:
				visit(f.Type.Elem())
			default:
				t.Errorf("%s is a %s", f.Name, f.Type)
			}
		}
	}
	visit(reflect.TypeFor[orderbox.Order]())
}
