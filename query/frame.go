package query

import (
	"net/http"
	"time"

	"orderbox/static"
)

// frame is what every page has.
type frame struct {
	Title    *static.Text
	Query    string // what the search field holds
	Focus    bool   // the search field has the focus from the start
	Operator string // who is logged in; empty when nobody is
	Login    bool   // somebody could
	Theme    string // light, dark, or empty for what the browser prefers
	Here     string // the address to come back to, without what somebody may have added to it
}

func (s *Server) frame(r *http.Request, title *static.Text) frame {
	f := frame{Title: title, Operator: s.asker(r), Here: "/"}
	f.Login = f.Operator == "" && len(s.keys) > 0
	if r.Method != http.MethodPost {
		f.Here = r.URL.EscapedPath()
	}
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		f.Theme = c.Value
	}
	return f
}

// told is a text of a problem, or nothing.
func told(text string) *static.Text {
	if text == "" {
		return nil
	}
	return static.Told(text)
}

const (
	languageCookie = "orderbox_language"
	themeCookie    = "orderbox_theme"
	preferenceLife = 365 * 24 * time.Hour
)

// language is the one that was chosen, or else what the browser asks for.
func (s *Server) language(r *http.Request) *static.Language {
	chosen := ""
	if c, err := r.Cookie(languageCookie); err == nil {
		chosen = c.Value
	}
	return static.Understood(chosen, r.Header.Get("Accept-Language"))
}

// preferences keeps in cookies how somebody wants to see the pages, a form: language or theme, next.
func (s *Server) preferences(w http.ResponseWriter, r *http.Request) error {
	p, err := parseForm(w, r, maxForm, "language", "theme", "next")
	if err != nil {
		return err
	}
	if code := p.text("language"); code != "" {
		prefer(w, languageCookie, static.Understood(code).Code)
	}
	switch theme := p.text("theme"); theme {
	case "light", "dark", "auto":
		prefer(w, themeCookie, theme)
	}
	next := p.text("next")
	if !isLocal(next) {
		next = "/"
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

func prefer(w http.ResponseWriter, name, value string) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(preferenceLife.Seconds()), HttpOnly: true, SameSite: http.SameSiteLaxMode})
}
