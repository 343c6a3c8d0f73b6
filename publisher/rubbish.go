package publisher

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"unicode/utf16"

	"orderbox"
)

// kind is one sort of rubbish: how a message of it is made, and the verdict that it must get. When
// earlier is set it is made from an order that was sent before, else from one that was not.
//
// This is the one place besides orderbox.Order that spells field names, for it has to spell them wrongly.
type kind struct {
	name    string
	verdict string
	earlier bool
	make    func(o orderbox.Order, random *rand.Rand) []byte
}

func kinds() []kind {
	var all []kind
	all = append(all, malformed()...)
	all = append(all, invalidShape()...)
	all = append(all, invalidValue()...)
	return append(all, meaning()...)
}

// malformed is what is no strict JSON.
func malformed() []kind {
	table := []struct {
		name string
		make func(o orderbox.Order, random *rand.Rand) []byte
	}{
		{"nothing at all", func(orderbox.Order, *rand.Rand) []byte { return []byte{} }},
		{"white space only", func(orderbox.Order, *rand.Rand) []byte { return []byte(" \r\n\t") }},
		{"plain text", func(orderbox.Order, *rand.Rand) []byte { return []byte("hello, is this the right channel?") }},
		{"XML", func(o orderbox.Order, _ *rand.Rand) []byte { return fmt.Appendf(nil, "<order uid=%q/>", o.OrderUID) }},
		{"binary with NUL bytes", noise},
		{"truncated", func(o orderbox.Order, random *rand.Rand) []byte {
			whole := o.JSON()
			return whole[:1+random.IntN(len(whole)-1)]
		}},
		{"trailing data", func(o orderbox.Order, _ *rand.Rand) []byte { return append(o.JSON(), "}; drop"...) }},
		{"two orders in one message", func(o orderbox.Order, _ *rand.Rand) []byte {
			return append(append(o.JSON(), '\n'), o.JSON()...)
		}},
		{"duplicate key", func(o orderbox.Order, _ *rand.Rand) []byte { return with(o, `"entry":"TWICE"`) }},
		{"invalid UTF-8", func(o orderbox.Order, _ *rand.Rand) []byte { return entry(o, "\"WB\xc3\x28IL\"") }},
		{"lone surrogate", func(o orderbox.Order, _ *rand.Rand) []byte { return entry(o, `"WB\ud83dIL"`) }},
		{"raw line break in a string", func(o orderbox.Order, _ *rand.Rand) []byte { return entry(o, "\"WB\nIL\"") }},
		{"byte order mark", func(o orderbox.Order, _ *rand.Rand) []byte { return append([]byte("\xef\xbb\xbf"), o.JSON()...) }},
		{"nested too deep", func(o orderbox.Order, _ *rand.Rand) []byte {
			return with(o, `"deep":`+strings.Repeat("[", 200)+strings.Repeat("]", 200))
		}},
		{"number beyond a double", func(o orderbox.Order, _ *rand.Rand) []byte { return amount(o, `1e400`) }},
		{"number with a leading zero", func(o orderbox.Order, _ *rand.Rand) []byte { return amount(o, `0042`) }},
		{"NaN", func(o orderbox.Order, _ *rand.Rand) []byte { return amount(o, `NaN`) }},
		{"trailing comma", func(o orderbox.Order, _ *rand.Rand) []byte {
			whole := o.JSON()
			return append(whole[:len(whole)-1], ",}"...)
		}},
		{"single quotes", func(o orderbox.Order, _ *rand.Rand) []byte {
			return bytes.ReplaceAll(o.JSON(), []byte{'"'}, []byte{'\''})
		}},
	}
	kinds := make([]kind, len(table))
	for i, row := range table {
		kinds[i] = kind{name: row.name, verdict: VerdictMalformed, make: row.make}
	}
	return kinds
}

// invalidShape is JSON of another shape than an order's.
func invalidShape() []kind {
	table := []struct {
		name string
		make func(o orderbox.Order) []byte
	}{
		{"null", func(orderbox.Order) []byte { return []byte(`null`) }},
		{"a number", func(orderbox.Order) []byte { return []byte(`42`) }},
		{"an empty object", func(orderbox.Order) []byte { return []byte(`{}`) }},
		{"order in an array", func(o orderbox.Order) []byte { return append(append([]byte{'['}, o.JSON()...), ']') }},
		{"order in a string", func(o orderbox.Order) []byte { return mustJSON(string(o.JSON())) }},
		{"field missing", func(o orderbox.Order) []byte {
			return replace(o, `"payment":`+string(mustJSON(o.Payment))+`,`, ``)
		}},
		{"field misspelt", func(o orderbox.Order) []byte { return replace(o, `"order_uid":`, `"order_id":`) }},
		{"object is null", func(o orderbox.Order) []byte {
			return replace(o, `"delivery":`+string(mustJSON(o.Delivery)), `"delivery":null`)
		}},
		{"string is a number", func(o orderbox.Order) []byte { return entry(o, `7`) }},
		{"amount is a decimal string", func(o orderbox.Order) []byte { return amount(o, `"18.17"`) }},
		{"amount is a fraction", func(o orderbox.Order) []byte { return amount(o, `18.17`) }},
		{"integer beyond 64 bits", func(o orderbox.Order) []byte { return amount(o, `9223372036854775808`) }},
		{"huge exponent", func(o orderbox.Order) []byte { return amount(o, `1e300`) }},
	}
	kinds := make([]kind, len(table))
	for i, row := range table {
		kinds[i] = kind{name: row.name, verdict: VerdictInvalid,
			make: func(o orderbox.Order, _ *rand.Rand) []byte { return row.make(o) }}
	}
	return kinds
}

// invalidValue is an order with one value that the schema refuses.
func invalidValue() []kind {
	table := []struct {
		name  string
		spoil func(o *orderbox.Order)
	}{
		{"order_uid empty", func(o *orderbox.Order) { o.OrderUID = "" }},
		{"order_uid too long", func(o *orderbox.Order) { o.OrderUID = strings.Repeat("я", 65) }},
		{"U+0000 in a string", func(o *orderbox.Order) { o.CustomerID = "customer\x00" }},
		{"negative amount", func(o *orderbox.Order) { o.Payment.Amount = -1 }},
		{"impossible date", func(o *orderbox.Order) { o.DateCreated = "2021-02-30T06:22:19Z" }},
		{"date without a zone", func(o *orderbox.Order) { o.DateCreated = "2021-11-26T06:22:19" }},
		{"date in words", func(o *orderbox.Order) { o.DateCreated = "Fri, 26 Nov 2021 06:22:19 GMT" }},
		{"paid in milliseconds", func(o *orderbox.Order) { o.Payment.PaymentDT *= 1000 }},
		{"no items", func(o *orderbox.Order) { o.Items = []orderbox.Item{} }},
		{"items are null", func(o *orderbox.Order) { o.Items = nil }},
		{"more than all off", func(o *orderbox.Order) { o.Items[0].Sale = 101 }},
		{"bad email", func(o *orderbox.Order) { o.Delivery.Email = "example.com" }},
		{"bad phone", func(o *orderbox.Order) { o.Delivery.Phone = "call me" }},
		{"nameless", func(o *orderbox.Order) { o.Delivery.Name = "" }},
		{"endless address", func(o *orderbox.Order) { o.Delivery.Address = strings.Repeat("ж", 20_000) }},
		{"bad currency", func(o *orderbox.Order) { o.Payment.Currency = "usd" }},
	}
	kinds := make([]kind, len(table))
	for i, row := range table {
		kinds[i] = kind{name: row.name, verdict: VerdictInvalid, make: func(o orderbox.Order, _ *rand.Rand) []byte {
			row.spoil(&o)
			return o.JSON()
		}}
	}
	return kinds
}

// meaning is what schema and syntax do not refuse.
func meaning() []kind {
	return []kind{
		{"unknown field", VerdictOrder, false, func(o orderbox.Order, _ *rand.Rand) []byte {
			return with(o, `"promo":{"code":"ЛЕТО","percent":1.5}`)
		}},
		{"white space everywhere", VerdictOrder, false, func(o orderbox.Order, _ *rand.Rand) []byte { return indented(o) }},
		{"sent again", VerdictDuplicate, true, func(o orderbox.Order, _ *rand.Rand) []byte { return o.JSON() }},
		{"sent again with white space", VerdictDuplicate, true, func(o orderbox.Order, _ *rand.Rand) []byte { return indented(o) }},
		{"sent again in another field order", VerdictDuplicate, true, func(o orderbox.Order, _ *rand.Rand) []byte { return sorted(o) }},
		{"sent again escaped", VerdictDuplicate, true, func(o orderbox.Order, _ *rand.Rand) []byte { return escaped(o) }},
		{"sent again with an unknown field", VerdictDuplicate, true, func(o orderbox.Order, _ *rand.Rand) []byte {
			return with(o, `"attempt":2`)
		}},
		{"other amount under the same uid", VerdictConflict, true, func(o orderbox.Order, random *rand.Rand) []byte {
			o.Payment.Amount += 1 + random.Int64N(1000)
			return o.JSON()
		}},
		{"item more under the same uid", VerdictConflict, true, func(o orderbox.Order, _ *rand.Rand) []byte {
			o.Items = append(o.Items, o.Items[0])
			return o.JSON()
		}},
		{"same instant spelt otherwise under the same uid", VerdictConflict, true, func(o orderbox.Order, _ *rand.Rand) []byte {
			o.DateCreated = respell(o.DateCreated)
			return o.JSON()
		}},
	}
}

// respell gives another spelling of the same instant; an order comes back as it was spelt, so the two
// orders are not the same.
func respell(date string) string {
	if rest, ok := strings.CutSuffix(strings.ToUpper(date), "Z"); ok {
		return rest + "+00:00"
	}
	return strings.Replace(date, "T", "t", 1)
}

func noise(_ orderbox.Order, random *rand.Rand) []byte {
	out := make([]byte, 64)
	for i := range out {
		out[i] = byte(random.UintN(256))
	}
	out[0] = 0
	return out
}

// with puts one more field in front of the others.
func with(o orderbox.Order, field string) []byte {
	return append([]byte("{"+field+","), o.JSON()[1:]...)
}

func entry(o orderbox.Order, value string) []byte {
	return replace(o, `"entry":"WBIL"`, `"entry":`+value)
}

func amount(o orderbox.Order, value string) []byte {
	return replace(o, fmt.Sprintf(`"amount":%d`, o.Payment.Amount), `"amount":`+value)
}

// replace changes the first place where old stands in the order's JSON.
func replace(o orderbox.Order, old, new string) []byte {
	return bytes.Replace(o.JSON(), []byte(old), []byte(new), 1)
}

func indented(o orderbox.Order) []byte {
	var b bytes.Buffer
	if err := json.Indent(&b, o.JSON(), "\r\n", "\t"); err != nil {
		panic(err) // what JSON makes is JSON
	}
	return b.Bytes()
}

// sorted writes the fields in the order of their names.
func sorted(o orderbox.Order) []byte {
	decoder := json.NewDecoder(bytes.NewReader(o.JSON()))
	decoder.UseNumber()
	var fields map[string]any
	if err := decoder.Decode(&fields); err != nil {
		panic(err) // what JSON makes is JSON
	}
	return mustJSON(fields)
}

// escaped writes everything beyond ASCII as \u….
func escaped(o orderbox.Order) []byte {
	var b []byte
	for _, r := range string(o.JSON()) {
		if r < 0x80 {
			b = append(b, byte(r))
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			b = fmt.Appendf(b, `\u%04X`, unit)
		}
	}
	return b
}

// mustJSON encodes as orderbox.Order.JSON does.
func mustJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // strings, integers and maps of them always encode
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
