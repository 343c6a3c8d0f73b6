package query

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"orderbox/internal/testservers"
)

func TestAnOrderSaysWhereEachOfItsValuesComesFrom(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	s := newRunning(t, p, Options{Tokens: []Token{{"ann", "right"}}})
	p.mustProject(t, mustModel(t, "a"))
	position := p.mustProject(t, mustModel(t, "b/c"))
	p.mustRefuse(t, []byte("{}"), "conflict", "[]", &position)
	const path = "/api/v1/orders/b%2Fc/source"
	var got source
	testservers.Eventually(t, "the order is seen", func() bool { _, ok := s.cache().get("b/c"); return ok })
	if err := json.Unmarshal(body(t, http.StatusOK, operatorGet(t, s, path)), &got); err != nil {
		t.Fatal(err)
	}
	if got.OrderUID != "b/c" || got.Message.Position != position || got.Message.Channel != "orders" || len(got.Message.Conflicts) != 1 {
		t.Errorf("the source is %+v", got)
	}
	values := map[string]string{}
	for _, v := range got.Values {
		values[v.Pointer] = string(v.Value)
	}
	if len(got.Values) != 39 || values["/delivery/city"] != `"Kiryat Mozkin"` || values["/items/0/price"] != "453" || got.Values[0].Pointer != "/order_uid" {
		t.Errorf("%d values: %v", len(got.Values), values)
	}
	if r := get(t, s, path); r.StatusCode != http.StatusUnauthorized || strings.Contains(string(body(t, http.StatusUnauthorized, r)), "Kiryat") {
		t.Errorf("without a token: %d", r.StatusCode)
	}
}
