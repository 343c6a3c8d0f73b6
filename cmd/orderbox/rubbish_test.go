package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"orderbox/internal/testservers"
	"orderbox/publisher"
)

// spelt is the reference order under an id, with the value of a field spelt as it is given, be it JSON or not.
func spelt(tb testing.TB, uid, name, value string) []byte {
	tb.Helper()
	const mark = "here-it-comes"
	order := mustOrder(tb, "order_uid", uid, name, mark)
	if name == "order_uid" {
		order = mustOrder(tb, name, mark)
	}
	return bytes.Replace(order, []byte(`"`+mark+`"`), []byte(value), 1)
}

// rubbish is a message and what must become of it.
type rubbish struct {
	name    string
	payload []byte
	verdict string // order, duplicate, or the reason of a dead letter
	keyword string // of the first violation
	pointer string // and where it is
}

// handPicked are what somebody who means harm, or a program that was made by nobody in particular, would send.
func handPicked(tb testing.TB) []rubbish {
	tb.Helper()
	valid := string(mustOrder(tb, "order_uid", "picked"))
	malformed := func(name, payload, pointer string) rubbish {
		return rubbish{name, []byte(payload), "malformed", "json", pointer}
	}
	invalid := func(name, field, value, keyword, pointer string) rubbish {
		return rubbish{name, spelt(tb, name, field, value), "invalid", keyword, pointer}
	}
	order := func(name, field, value string) rubbish {
		return rubbish{name, spelt(tb, name, field, value), "order", "", ""}
	}
	const large = 1_000_000 // beside the order's own bytes that is what the broker lets through
	return []rubbish{
		malformed("empty", "", ""),
		malformed("white space", " \r\n\t", ""),
		malformed("NUL", "\x00", ""),
		malformed("NULs before an order", "\x00\x00"+valid, ""),
		malformed("NUL behind an order", valid+"\x00", ""),
		malformed("a NUL in a string", strings.Replace(valid, "Testov", "Test\x00ov", 1), "/delivery/name"),
		malformed("a byte order mark", "\ufeff"+valid, ""),
		malformed("UTF-16", "\xff\xfe{\x00}\x00", ""),
		malformed("a lone high surrogate", string(spelt(tb, "x", "entry", `"\ud83d"`)), "/entry"),
		malformed("a lone low surrogate", string(spelt(tb, "x", "entry", `"\ude00"`)), "/entry"),
		malformed("surrogates the wrong way round", string(spelt(tb, "x", "entry", `"\ude00\ud83d"`)), "/entry"),
		malformed("a surrogate as UTF-8", string(spelt(tb, "x", "entry", "\"\xed\xa0\x80\"")), "/entry"),
		malformed("overlong UTF-8", string(spelt(tb, "x", "entry", "\"\xc0\xaf\"")), "/entry"),
		malformed("UTF-8 beyond U+10FFFF", string(spelt(tb, "x", "entry", "\"\xf4\x90\x80\x80\"")), "/entry"),
		malformed("a key twice", `{"order_uid":"a",`+valid[1:], "/order_uid"),
		malformed("a key twice, spelt otherwise", `{"\u006frder_uid":"a",`+valid[1:], "/order_uid"),
		malformed("an unknown key twice, deep down", string(spelt(tb, "x", "entry", `{"a":[{"b":1,"b":2}]}`)), "/entry/a/0/b"),
		malformed("100,000 arrays deep", strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000), strings.Repeat("/0", 100)),
		malformed("100,000 objects deep", strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_000), strings.Repeat("/a", 100)),
		malformed("100,000 brackets that never end", strings.Repeat("[", 100_000), strings.Repeat("/0", 100)),
		malformed("1e400", string(spelt(tb, "x", "sm_id", "1e400")), "/sm_id"),
		malformed("1e999999999999999999999", string(spelt(tb, "x", "sm_id", "1e999999999999999999999")), "/sm_id"),
		malformed("a million digits", string(spelt(tb, "x", "sm_id", strings.Repeat("9", large))), "/sm_id"),
		malformed("trailing data", valid+"x", ""),
		malformed("two objects", valid+valid, ""),
		malformed("two objects on two lines", valid+"\n{}", ""),
		malformed("1 MB that never ends", `{"a":"`+strings.Repeat("x", large), "/a"),
		malformed("1 MB of backslashes", strings.Repeat(`\`, large), ""),
		malformed("1 MB of U+FFFD", strings.Repeat("\xff", large), ""),

		{"null", []byte("null"), "invalid", "type", ""},
		{"a string", []byte(`"order"`), "invalid", "type", ""},
		{"1 MB of one string", []byte(`"` + strings.Repeat("x", large) + `"`), "invalid", "type", ""},
		{"an order in an array", []byte("[" + valid + "]"), "invalid", "type", ""},
		{"an order in an object", []byte(`{"order":` + valid + "}"), "invalid", "required", "/customer_id"},
		invalid("U+0000 escaped", "customer_id", `"a\u0000b"`, "pattern", "/customer_id"),
		invalid("U+0000 in an id", "order_uid", `"\u0000"`, "pattern", "/order_uid"),
		invalid("U+0000 in a date", "date_created", `"2021-02-28T00:00:00Z\u0000"`, "format", "/date_created"),
		invalid("U+0000 in an e-mail", "delivery.email", `"a\u0000@example.com"`, "format", "/delivery/email"),
		invalid("1 MB of one field", "delivery.address", `"`+strings.Repeat("ж", large/2)+`"`, "maxLength", "/delivery/address"),
		invalid("one beyond int64", "sm_id", "9223372036854775808", "maximum", "/sm_id"),
		invalid("one below int64", "sm_id", "-9223372036854775809", "minimum", "/sm_id"),
		invalid("100 digits", "sm_id", strings.Repeat("9", 100), "maximum", "/sm_id"),
		invalid("1e308", "payment.amount", "1e308", "maximum", "/payment/amount"),
		invalid("1e-308", "payment.amount", "1e-308", "type", "/payment/amount"),
		invalid("a minus and a little", "payment.amount", "-0.0000000001", "type", "/payment/amount"),
		invalid("30 February", "date_created", `"2021-02-30T00:00:00Z"`, "format", "/date_created"),
		invalid("29 February of no leap year", "date_created", `"2021-02-29T00:00:00Z"`, "format", "/date_created"),
		invalid("the year 10000", "date_created", `"10000-01-01T00:00:00Z"`, "format", "/date_created"),
		invalid("24 o'clock", "date_created", `"2021-02-28T24:00:00Z"`, "format", "/date_created"),
		invalid("a leap second that was none", "date_created", `"2021-02-28T12:00:60Z"`, "format", "/date_created"),
		invalid("an offset of a day", "date_created", `"2021-02-28T12:00:00+24:00"`, "format", "/date_created"),
		invalid("a date in other digits", "date_created", `"٢٠٢١-02-28T12:00:00Z"`, "format", "/date_created"),
		invalid("an id of 65", "order_uid", `"`+strings.Repeat("a", 65)+`"`, "maxLength", "/order_uid"),

		order("-0", "payment.custom_fee", "-0"),
		order("-0.0e-0", "payment.custom_fee", "-0.0e-0"),
		order("the largest", "sm_id", "9223372036854775807"),
		order("the smallest", "sm_id", "-9.223372036854775808E+18"),
		order("U+0000 in an unknown field", "unknown", `{"\u0000":"\u0000"}`),
		order("1 MB in an unknown field", "unknown", `"`+strings.Repeat("я", large/2-1000)+`"`),
		order("99 levels deep", "unknown", strings.Repeat("[", 99)+strings.Repeat("]", 99)),
		order("other letters", "ORDER_UID", `5`),
		order("the year 0", "date_created", `"0000-01-01T00:00:00+23:59"`),
		order("the end of 9999", "date_created", `"9999-12-31T23:59:59.999999999-23:59"`),
		order("a leap second", "date_created", `"2016-12-31t23:59:60.5z"`),
		order("noncharacters", "customer_id", `"\uffff\ufffe\ufdd0"`),
		order("every control", "customer_id", `"\u0001\u001f\u007f\u0080\u009f\u2028\u202e\ufeff"`),
		order("combining marks", "customer_id", `"e`+strings.Repeat("\u0301", 150)+`"`),
		{"sent again", spelt(tb, "-0", "payment.custom_fee", "0"), "duplicate", "", ""},
		{"sent again as something else", spelt(tb, "-0", "payment.custom_fee", "1"), "conflict", "unique", "/order_uid"},
	}
}

// The whole way, from the broker to the pages: each message gets its verdict, keeps every byte, and delays
// nobody.
func TestHandPickedRubbish(t *testing.T) {
	t.Parallel()
	f := mustFlow(t, testservers.Broker(t))
	all := handPicked(t)
	var payloads [][]byte
	for i, r := range all {
		payloads = append(payloads, r.payload, mustOrder(t, "order_uid", fmt.Sprint("good ", i)))
	}
	f.publish(payloads...)
	f.await(len(payloads))
	fates := f.fates("order by i.position")
	if len(fates) != len(payloads) {
		t.Fatalf("%d messages in the log, %d were published", len(fates), len(payloads))
	}
	for i, r := range all {
		got, good := fates[2*i], fates[2*i+1]
		if !bytes.Equal(got.Payload, r.payload) {
			t.Errorf("%s: the log has other bytes", r.name)
		}
		if got.Fates != 1 || got.Verdict != r.verdict || got.Keyword != r.keyword || got.Pointer != r.pointer {
			t.Errorf("%s is %s: %q at %q; want %s: %q at %q", r.name, got.Verdict, got.Keyword, got.Pointer, r.verdict, r.keyword, r.pointer)
		}
		if good.Verdict != "order" || good.UID != fmt.Sprint("good ", i) {
			t.Errorf("the order behind %s is %s", r.name, good.Verdict)
		}
		f.mustShow(r, got)
	}
	mustCheck(t, f.db.ReaderURL)
}

// mustShow looks at a message where people and programs would.
func (f *flow) mustShow(r rubbish, got fate) {
	f.Helper()
	switch {
	case got.Reason != "":
		path := fmt.Sprint("/dead-letters/", got.Position)
		if answer, body := f.ask(http.MethodGet, "/api/v1"+path+"/payload"); answer.StatusCode != http.StatusOK || !bytes.Equal(body, r.payload) {
			f.Errorf("%s: the payload is answered with %d and %d bytes of %d", r.name, answer.StatusCode, len(body), len(r.payload))
		}
		if answer, body := f.ask(http.MethodGet, path); answer.StatusCode != http.StatusOK || !strings.Contains(string(body), got.Keyword) {
			f.Errorf("%s: its page is answered with %d", r.name, answer.StatusCode)
		}
		answer, body := f.ask(http.MethodGet, "/api/v1"+path)
		var letter struct{ Reason string }
		if err := json.Unmarshal(body, &letter); err != nil || answer.StatusCode != http.StatusOK || letter.Reason != got.Reason {
			f.Errorf("%s: %d %s", r.name, answer.StatusCode, body)
		}
	case got.UID != "":
		answer, body := f.ask(http.MethodGet, "/api/v1/orders/"+url.PathEscape(got.UID))
		if answer.StatusCode != http.StatusOK {
			f.Fatalf("%s: %d %s", r.name, answer.StatusCode, body)
		}
		mustHold(f, r.payload, body)
	}
}

// Everything that the publisher can make up has its verdict on the whole way as well.
func TestEveryKindOfMadeUpRubbish(t *testing.T) {
	t.Parallel()
	f := mustFlow(t, testservers.Broker(t))
	var payloads [][]byte
	var want, kinds []string
	for m := range publisher.Messages(77, 1500, 0.5) {
		payloads, want, kinds = append(payloads, m.Payload), append(want, m.Verdict), append(kinds, m.Kind)
	}
	f.publish(payloads...)
	f.await(len(payloads))
	for i, got := range f.fates("order by i.position") {
		if got.Verdict != want[i] || got.Fates != 1 || !slices.Equal(got.Payload, payloads[i]) {
			t.Errorf("%s is %s, want %s", kinds[i], got.Verdict, want[i])
		}
		if got.UID != "" && i%10 == 0 {
			_, body := f.ask(http.MethodGet, "/api/v1/orders?order_uid="+url.QueryEscape(got.UID))
			mustHold(t, payloads[i], body)
		}
	}
	mustCheck(t, f.db.ReaderURL)
}
