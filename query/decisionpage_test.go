package query

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"orderbox/internal/testservers"
)

// submit posts a form as ann, with name and value in turn.
func submit(tb testing.TB, s *Server, path string, fields ...string) *http.Response {
	tb.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return post(tb, s, path, form.Encode(), "Authorization", "Bearer right", "Content-Type", "application/x-www-form-urlencoded")
}

// mustLead follows where an answer sends the browser to.
func mustLead(tb testing.TB, s *Server, r *http.Response) (path, page string) {
	tb.Helper()
	body(tb, http.StatusSeeOther, r)
	path = r.Header.Get("Location")
	return path, mustShowOperator(tb, s, http.StatusOK, path)
}

// The page waits for a projector, so what it does comes while the form is being answered.
func TestFormComesBackWithItsOutcome(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	id := p.mustRefuse(t, []byte("bad"), "syntax", "[]", nil)
	s := newDeciding(t, p)
	answered := make(chan *http.Response)
	go func() { answered <- submit(t, s, letterLink(id)+"/amend", "payload", "a\r\nb", "note", "two lines") }()
	testservers.Eventually(t, "the amendment is entered", func() bool { return len(p.decided(t, kindAmend)) == 1 })
	p.mustApply(t, refused)
	path, page := mustLead(t, s, <-answered)
	if path != letterLink(id)+"?done=amend" {
		t.Errorf("sent to %s", path)
	}
	mustSay(t, page, "Amended, and refused again.", "Amended by ann", "two lines", "It was refused again. Still wrong.", "Below is what was entered last")
	if !strings.Contains(page, ">\na\nb</textarea>") {
		t.Error("amending does not go on with what was entered")
	}
	save := regexp.MustCompile(`<a href="([^"]*entry=[^"]*)">`).FindStringSubmatch(page)
	if save == nil {
		t.Fatal("what was entered is not linked to")
	}
	if got := body(t, http.StatusOK, get(t, s, save[1], "Authorization", "Bearer right")); string(got) != "a\nb" {
		t.Errorf("entered was %q", got)
	}
	if page := mustShowOperator(t, s, http.StatusOK, letterLink(id)+"?done=discard"); strings.Contains(page, `class="note good"`) {
		t.Error("an address claims what was not done")
	}
}

func TestPageOffersWhatTheStateAllows(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	id := p.mustRefuse(t, []byte("\xff"), "syntax", "[]", nil)
	s := newDeciding(t, p)
	offers := func() (kinds string) {
		page := mustShowOperator(t, s, http.StatusOK, letterLink(id))
		for _, m := range regexp.MustCompile(`action="/dead-letters/\d+/([a-z]+)"`).FindAllStringSubmatch(page, -1) {
			kinds += m[1] + " "
		}
		return kinds
	}
	if got := offers(); got != "retry discard amend " {
		t.Errorf("open: %s", got)
	}
	mustSay(t, string(body(t, http.StatusBadRequest, submit(t, s, letterLink(id)+"/discard", "note", " "))), "needs a note", "Back to dead letter")
	_, page := mustLead(t, s, submit(t, s, letterLink(id)+"/discard", "note", "ours"))
	mustSay(t, page, "Discarded. The verdict is not there yet") // for there is no projector
	mustSay(t, string(body(t, http.StatusConflict, submit(t, s, letterLink(id)+"/retry"))), "has yet to be applied", "Back to dead letter")
	p.mustApply(t)
	if got := offers(); got != "reopen " {
		t.Errorf("discarded: %s", got)
	}
	body(t, http.StatusBadRequest, submit(t, s, letterLink(id)+"/reopen", "nonsense", "x"))
	mustShowOperator(t, newServer(t, p, Options{Tokens: []Token{{"ann", "right"}}}), http.StatusNotFound, "/dead-letters/retry")
}

func TestManyAreDecidedAboutAfterAPreview(t *testing.T) {
	t.Parallel()
	p := newProjection(t)
	refuse := func() { p.mustRefuse(t, []byte("x"), "syntax", "[]", nil) }
	refuse()
	refuse()
	s := newDeciding(t, p)
	page := mustShowOperator(t, s, http.StatusOK, "/dead-letters/discard?reason=syntax&place=")
	mustSay(t, page, "Discard what the filter finds", "reasonsyntax", "2 dead letters would be discarded.", "Discard 2 dead letters")
	if !strings.Contains(page, `name="expect" value="2"`) || !strings.Contains(page, ` required>`) {
		t.Errorf("%s", page)
	}
	refuse()
	fields := []string{"reason", "syntax", "expect", "2", "note", "spam & <b>"}
	changed := string(body(t, http.StatusConflict, submit(t, s, "/dead-letters/discard", fields...)))
	mustSay(t, changed, "Nothing was done", "3 dead letters would be discarded.")
	if !strings.Contains(changed, `value="spam &amp; &lt;b&gt;"`) || len(p.decided(t, kindDiscard)) != 0 {
		t.Error("the note is lost, or something was done")
	}
	fields[3] = "3"
	path, _ := mustLead(t, s, submit(t, s, "/dead-letters/discard", fields...))
	if path != "/dead-letters?count=3&done=discard&reason=syntax" || len(p.decided(t, kindDiscard)) != 3 {
		t.Errorf("sent to %s after %v", path, p.decided(t, kindDiscard))
	}
	mustSay(t, mustShowOperator(t, s, http.StatusOK, path), "Discarded: 3.")
	mustSay(t, mustShowOperator(t, s, http.StatusOK, "/dead-letters/retry"), "Retry all that are open", "0 dead letters", "3 of those that the filter finds would be left out")
	body(t, http.StatusBadRequest, submit(t, s, "/dead-letters/retry", "note", "without a preview"))
	for _, forged := range []string{"done=discard&count=x", "done=x&count=3", "done=<b>&count=1"} {
		if page := mustShowOperator(t, s, http.StatusOK, "/dead-letters?"+forged); strings.Contains(page, `class="note good"`) {
			t.Errorf("%s is taken for a confirmation", forged)
		}
	}
}
