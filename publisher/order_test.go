package publisher

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"orderbox"
)

// mustSchema compiles the schema that the projector judges by, from its file: the stages import
// nothing of each other.
func mustSchema(tb testing.TB) *jsonschema.Schema {
	tb.Helper()
	file, err := os.Open("../projector/order.schema.json")
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat = true
	if err := compiler.AddResource("urn:orderbox:order", file); err != nil {
		tb.Fatal(err)
	}
	return compiler.MustCompile("urn:orderbox:order")
}

// decode reads one JSON value as the schema wants it.
func decode(payload []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	var value any
	err := decoder.Decode(&value)
	return value, err
}

// first returns the first n orders of a seed.
func first(n int, seed uint64) []orderbox.Order {
	var orders []orderbox.Order
	for o := range Orders(seed) {
		if orders = append(orders, o); len(orders) == n {
			break
		}
	}
	return orders
}

func TestModelIsAnOrderThatComesBackAsItIs(t *testing.T) {
	t.Parallel()
	var o orderbox.Order
	if err := json.Unmarshal(Model, &o); err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, Model); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(o.JSON(), compact.Bytes()) {
		t.Errorf("the model came back as\n%s", o.JSON())
	}
}

func TestOrdersSatisfyTheSchema(t *testing.T) {
	t.Parallel()
	schema := mustSchema(t)
	for _, o := range first(1000, 7) {
		value, err := decode(o.JSON())
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Fatalf("%s\n%#v", o.JSON(), err)
		}
	}
}

func TestTotalsAddUp(t *testing.T) {
	t.Parallel()
	for _, o := range first(3000, 8) {
		var goods int64
		for _, item := range o.Items {
			if want := item.Price * (100 - item.Sale) / 100; item.TotalPrice != want {
				t.Fatalf("total_price %d, want %d", item.TotalPrice, want)
			}
			goods += item.TotalPrice
		}
		if o.Payment.GoodsTotal != goods {
			t.Fatalf("goods_total %d, want %d", o.Payment.GoodsTotal, goods)
		}
		if want := goods + o.Payment.DeliveryCost + o.Payment.CustomFee; o.Payment.Amount != want {
			t.Fatalf("amount %d, want %d", o.Payment.Amount, want)
		}
	}
}

func TestOrdersAreVaried(t *testing.T) {
	t.Parallel()
	uids, currencies, items := map[string]bool{}, map[string]bool{}, map[int]int{}
	var latin, cyrillic, han, emoji, apostrophe bool
	for _, o := range first(5000, 9) {
		if uids[o.OrderUID] {
			t.Fatalf("order_uid %s came twice", o.OrderUID)
		}
		if len(o.OrderUID) != len("b563feb7b2b84b6test") {
			t.Fatalf("order_uid %s is not as long as the model's", o.OrderUID)
		}
		uids[o.OrderUID], currencies[o.Payment.Currency] = true, true
		items[len(o.Items)]++
		for _, r := range o.Delivery.Name + o.Delivery.Address {
			latin = latin || unicode.Is(unicode.Latin, r)
			cyrillic = cyrillic || unicode.Is(unicode.Cyrillic, r)
			han = han || unicode.Is(unicode.Han, r)
			emoji = emoji || unicode.Is(unicode.So, r)
			apostrophe = apostrophe || r == '\''
		}
	}
	if !latin || !cyrillic || !han || !emoji || !apostrophe {
		t.Errorf("latin %t, cyrillic %t, han %t, emoji %t, apostrophe %t", latin, cyrillic, han, emoji, apostrophe)
	}
	if len(currencies) < 8 {
		t.Errorf("only %d currencies", len(currencies))
	}
	for n := 1; n < 6; n++ {
		if items[n] <= items[n+1] || items[n+1] == 0 {
			t.Errorf("%d orders with %d items, %d with one more", items[n], n, items[n+1])
		}
	}
}

func TestOtherSeedGivesOtherOrders(t *testing.T) {
	t.Parallel()
	uids := map[string]bool{}
	for _, o := range first(1000, 1) {
		uids[o.OrderUID] = true
	}
	for _, o := range first(1000, 2) {
		if uids[o.OrderUID] {
			t.Fatalf("order_uid %s comes from both seeds", o.OrderUID)
		}
	}
}

func BenchmarkOrders(b *testing.B) {
	g := newGenerator(1)
	for b.Loop() {
		o := g.order()
		if len(o.JSON()) == 0 {
			b.Fatal("empty order")
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
}
