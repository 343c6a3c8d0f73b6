package publisher

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"orderbox"
)

// The hash is of what every machine must make of seed 1. Whoever changes the generator on purpose takes
// the new one from the test's output.
const goldenHash = "5bc164dd32cb13c3d7dec5f79e5ec5f6c72c18221140b289cb340fd1c17ed593"

func TestSameSeedSameBytesEverywhere(t *testing.T) {
	t.Parallel()
	hash := sha256.New()
	for m := range Messages(1, 1000, 0.1) {
		sum := sha256.Sum256(m.Payload)
		hash.Write(sum[:])
		hash.Write([]byte(m.Kind + "\x00" + m.Verdict + "\x00" + m.OrderUID + "\n"))
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != goldenHash {
		t.Errorf("the first 1000 messages of seed 1 hash to %s", got)
	}
}

func TestMessagesHoldTheShareOfRubbish(t *testing.T) {
	t.Parallel()
	tests := []struct {
		count   int
		rubbish float64
		want    int
	}{
		{0, 0.5, 0}, {1, 0, 0}, {1, 1, 1}, {10, 0.25, 3}, {200, 1, 200}, {10_000, 0.1, 1000}, {10, 7, 10}, {10, -1, 0},
	}
	for _, test := range tests {
		count, rubbish := 0, 0
		for m := range Messages(3, test.count, test.rubbish) {
			count++
			if m.Kind != "" {
				rubbish++
			}
		}
		if count != test.count || rubbish != test.want {
			t.Errorf("Messages(3, %d, %g): %d messages, %d of them rubbish, want %d", test.count, test.rubbish, count, rubbish, test.want)
		}
	}
}

func TestGoodMessagesAreTheOrdersOfTheSeed(t *testing.T) {
	t.Parallel()
	orders := first(100, 5)
	i := 0
	for m := range Messages(5, 100, 0) {
		if !bytes.Equal(m.Payload, orders[i].JSON()) {
			t.Fatalf("message %d is not order %d", i, i)
		}
		i++
	}
}

func TestEveryKindComesBeforeAnyComesTwice(t *testing.T) {
	t.Parallel()
	all := kinds()
	if len(all) < 20 {
		t.Errorf("only %d kinds", len(all))
	}
	for seed := range uint64(20) {
		seen := map[string]int{}
		for m := range Messages(seed, len(all), 1) {
			seen[m.Kind]++
		}
		for _, k := range all {
			if seen[k.name] != 1 {
				t.Errorf("seed %d: %q came %d times", seed, k.name, seen[k.name])
			}
		}
	}
}

// The verdicts are checked against what can be said of a message without the service: the schema, the
// standard library's JSON (which tolerates some of what is malformed), and the orders sent earlier.
func TestMessagesDeserveTheirVerdicts(t *testing.T) {
	t.Parallel()
	schema := mustSchema(t)
	sent := map[string][]byte{}
	for m := range Messages(11, 1500, 0.5) {
		value, err := decode(m.Payload)
		valid := err == nil && strictly(m.Payload) && schema.Validate(value) == nil
		var o orderbox.Order
		if valid {
			if err := json.Unmarshal(m.Payload, &o); err != nil {
				t.Fatalf("%s: %v", m.Kind, err)
			}
			if o.OrderUID != m.OrderUID {
				t.Fatalf("%s: order_uid %s is announced as %s", m.Kind, o.OrderUID, m.OrderUID)
			}
		}
		earlier, known := sent[m.OrderUID]
		same := bytes.Equal(earlier, o.JSON())
		var deserved bool
		switch m.Verdict {
		case VerdictMalformed:
			deserved = !known && (!strictly(m.Payload))
		case VerdictInvalid:
			deserved = !known && err == nil && strictly(m.Payload) && !valid
		case VerdictOrder:
			deserved = !known && valid
			sent[m.OrderUID] = o.JSON()
		case VerdictDuplicate:
			deserved = known && valid && same
		case VerdictConflict:
			deserved = known && valid && !same
		}
		if !deserved {
			t.Errorf("%q does not deserve %s (valid %t, known %t, same %t): %.300q", m.Kind, m.Verdict, valid, known, same, m.Payload)
		}
	}
}

// strictly says whether payload is JSON also by the rules that encoding/json does not keep. Each is
// looked for in the one form in which the generator breaks it.
func strictly(payload []byte) bool {
	return json.Valid(payload) &&
		bytes.Equal(payload, []byte(strings.ToValidUTF8(string(payload), "\ufffd"))) &&
		!bytes.Contains(payload, []byte(`\ud83dI`)) &&
		!bytes.Contains(payload, []byte(strings.Repeat("[", 101))) &&
		!bytes.Contains(payload, []byte(`1e400`)) &&
		bytes.Count(payload, []byte(`"entry":`)) < 2
}

func TestRememberedOrdersAreTheNewest(t *testing.T) {
	t.Parallel()
	s := &tale{orders: newGenerator(1)}
	var want []string
	for range remembered + 10 {
		want = append(want, s.order().OrderUID)
	}
	want = want[10:]
	var got []string
	for _, o := range s.earlier {
		got = append(got, o.OrderUID)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Error("the ring does not hold the newest orders")
	}
}
