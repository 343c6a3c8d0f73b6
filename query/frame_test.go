package query

import (
	"net/http"
	"strings"
	"testing"

	"orderbox"
)

// Every page in Russian, with the same structs: what is not in the catalogue would be English and be marked so.
func TestPagesSpeakTheReadersLanguage(t *testing.T) {
	t.Parallel()
	differs := mustModel(t, "differs")
	differs.Payment.GoodsTotal++
	differs.Items = append(differs.Items, differs.Items[0], differs.Items[0], differs.Items[0], differs.Items[0])
	s := filled(t, mustModel(t, "a"), differs)
	russian := []string{"Accept-Language", "ru-RU,ru;q=0.9,en;q=0.8"}
	for path, words := range map[string][]string{
		"/":                                  {"Найти заказ", "Последние заказы", "26 нояб. 2021, 06:22:19 UTC", "5 товаров", "1 817 USD"},
		"/orders/a":                          {"1 товар, статус 202", "Сумма по товарам", "такая же, как в оплате", "Покупатель"},
		"/orders/differs":                    {"— это не сумма по товарам."},
		"/orders/none":                       {"Нет заказа с таким номером"},
		"/nowhere":                           {"Здесь ничего нет", "Страницы с таким адресом нет."},
		"/orders/" + strings.Repeat("x", 65): {"Номер длиннее 64 знаков."},
	} {
		r := get(t, s, path, russian...)
		page := string(body(t, r.StatusCode, r))
		for _, w := range words {
			if !strings.Contains(text(page), w) {
				t.Errorf("%s does not say %q: %s", path, w, text(page))
			}
		}
		if !strings.Contains(page, `<html lang="ru">`) || strings.Contains(page, `<span lang="en">`) || r.Header.Get("Vary") != "Accept-Language, Cookie" {
			t.Errorf("%s is not all Russian: %v %s", path, r.Header, page)
		}
	}
}

func TestPreferencesAreKeptAndAnythingElseIsNot(t *testing.T) {
	t.Parallel()
	s := filled(t, orderbox.Order{})
	for _, c := range []struct{ form, cookie, page, next string }{
		{"language=ru&next=/orders/a", "orderbox_language=ru", `<html lang="ru">`, "/orders/a"},
		{"language=en", "orderbox_language=en", `<html lang="en">`, "/"},
		{"language=%22%3E&next=//evil.example", "orderbox_language=en", `<html lang="en">`, "/"},
		{"theme=dark&next=/status", "orderbox_theme=dark", ` data-theme="dark">`, "/status"},
		{"theme=light", "orderbox_theme=light", ` data-theme="light">`, "/"},
		{"theme=auto", "orderbox_theme=auto", `<html lang="en">`, "/"},
		{"theme=pink", "", `<html lang="en">`, "/"},
	} {
		r := post(t, s, "/preferences", c.form, "Content-Type", "application/x-www-form-urlencoded")
		cookie := strings.Join(r.Header.Values("Set-Cookie"), "")
		if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != c.next || !strings.HasPrefix(cookie, c.cookie) || c.cookie == "" && cookie != "" {
			t.Errorf("%s: %d to %q with %q", c.form, r.StatusCode, r.Header.Get("Location"), cookie)
		}
		if page := string(body(t, http.StatusOK, get(t, s, "/", "Cookie", c.cookie))); !strings.Contains(page, c.page) {
			t.Errorf("%s: the page begins with %.100s", c.form, page)
		}
	}
	if page := string(body(t, http.StatusOK, get(t, s, "/", "Cookie", `orderbox_theme="><script>; orderbox_language=xx`))); strings.Contains(page, "data-theme") {
		t.Errorf("%.200s", page)
	}
}
