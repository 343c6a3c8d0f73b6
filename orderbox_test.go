package orderbox_test

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
	"unicode/utf8"

	"orderbox"
)

// The digests in the database are of these bytes: another encoder must not change one of them.
func TestOrdersAreEncodedAsTheStandardLibraryDoes(t *testing.T) {
	t.Parallel()
	check := func(o orderbox.Order) {
		t.Helper()
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(o); err != nil {
			t.Fatal(err)
		}
		if got := o.JSON(); !bytes.Equal(append(got, '\n'), want.Bytes()) {
			t.Fatalf("got %s, want %s", got, want.Bytes())
		}
	}
	check(orderbox.Order{})
	check(orderbox.Order{Items: []orderbox.Item{}, SmID: math.MinInt64, Payment: orderbox.Payment{Amount: math.MaxInt64}})
	check(orderbox.Order{Items: []orderbox.Item{{Name: "a"}, {ChrtID: -1}}})
	// Alone and among others, for encoders look at several bytes at once.
	for r := range utf8.RuneSelf * 128 {
		check(orderbox.Order{OrderUID: string(rune(r)), Entry: "sixteen bytes or more " + string(rune(r)) + " of them"})
	}
	var all []byte
	for r := rune(0); r <= utf8.MaxRune; r++ {
		all = utf8.AppendRune(all, r)
	}
	check(orderbox.Order{Entry: string(all)})
}
