package query

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"orderbox/static"
)

const (
	cookieName = "orderbox_operator"
	// cookieLife is a working day: nothing but a change of the token ends a stolen cookie before.
	cookieLife = 12 * time.Hour
	// afterLogin is where a browser goes that did not say where it came from.
	afterLogin = "/dead-letters"
	maxForm    = 4 << 10
)

// loginView is what pages/login.html reads.
type loginView struct {
	frame
	Next   string // where the browser goes then
	Failed bool
}

// loginPage asks for a token, or sends on who has shown one.
func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	if err := s.offersOperator(); err != nil {
		return err
	}
	next := r.URL.Query().Get("next")
	if !isLocal(next) {
		next = afterLogin
	}
	if s.asker(r) != "" {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return nil
	}
	return s.writePage(w, r, http.StatusOK, "login", loginView{frame: s.frame(r, static.Say("Log in")), Next: next})
}

// askToLogIn answers a browser without a login: it is sent to the login page and comes back from there, to
// a page and not to a decision that it was about to take.
func (s *Server) askToLogIn(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path == "/login" {
		view := loginView{frame: s.frame(r, static.Say("Log in")), Next: r.PostForm.Get("next"), Failed: true}
		return s.writePage(w, r, http.StatusUnauthorized, "login", view)
	}
	next := r.URL.RequestURI()
	if r.Method == http.MethodPost {
		if next = path.Dir(r.URL.Path); strings.HasPrefix(next, replayPath) {
			next = replayPath
		}
	}
	http.Redirect(w, r, "/login?"+url.Values{"next": {next}}.Encode(), http.StatusSeeOther)
	return nil
}

// login gives a browser a cookie for an operator's token, the form's field token, and sends it to the path
// in the field next.
func (s *Server) login(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	if err := s.offersOperator(); err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return badRequest("The form cannot be read.", "Send the fields token and next as a form of at most 4 KiB.")
	}
	name, err := s.whose(r, r.PostForm.Get("token"))
	if err != nil {
		return err
	}
	if name == "" {
		return unauthorized(w, "Check it for missing characters. The service's configuration has it; 'orderbox up' prints it.")
	}
	until := time.Now().Add(cookieLife)
	setCookie(w, r, s.keys.issue(name, until), int(cookieLife.Seconds()))
	next := r.PostForm.Get("next")
	if !isLocal(next) {
		next = afterLogin
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

// logout makes a browser forget its cookie.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	setCookie(w, r, "", -1)
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

// setCookie keeps the cookie from scripts and from other sites, and from the open network where this request
// did not go over it.
func setCookie(w http.ResponseWriter, r *http.Request, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, MaxAge: seconds, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"),
	})
}

// isLocal says whether a browser takes an address for a path of this site, and for nothing else: it drops
// line breaks and tabs, and takes \ for /.
func isLocal(address string) bool {
	return strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "//") &&
		!strings.ContainsFunc(address, func(c rune) bool { return c == '\\' || c < ' ' || c == 0x7f })
}
