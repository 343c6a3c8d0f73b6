package query

import (
	"encoding/json"
	"fmt"
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
	shown := operatorGet(t, s, "/orders/b%2Fc")
	page := string(body(t, http.StatusOK, shown))
	for _, part := range []string{"Where did this come from?", "stan, channel orders, sequence", "/delivery/city", "&#34;Kiryat Mozkin&#34;",
		fmt.Sprint("message ", position, ", schema"), fmt.Sprintf(`href="/dead-letters/%d"`, position+1)} {
		if !strings.Contains(page, part) {
			t.Errorf("no %q on the page", part)
		}
	}
	if shown.Header.Get("Cache-Control") != "no-store" {
		t.Error("what only an operator may see may be kept by caches")
	}
	if strings.Contains(string(body(t, http.StatusOK, get(t, s, "/orders/b%2Fc"))), "Where did this come from?") {
		t.Error("anybody is told where an order comes from")
	}
	if r := get(t, s, path); r.StatusCode != http.StatusUnauthorized || strings.Contains(string(body(t, http.StatusUnauthorized, r)), "Kiryat") {
		t.Errorf("without a token: %d", r.StatusCode)
	}
}
