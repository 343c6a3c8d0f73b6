package query

import (
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strconv"
)

// bulkView is what pages/bulk.html reads.
type bulkView struct {
	frame
	Action, Heading, Confirm string
	Back                     string // link to the list
	Fields                   []field
	Preview, LeftOut         string
	Possible                 bool
	Expect                   int
	NoteRequired             bool
	Note                     string
	Changed                  bool // since the last preview
}

// previewPage returns the handler that says what a decision about all dead letters that a filter means
// would be about, and asks for a confirmation.
func (s *Server) previewPage(kind string) func(http.ResponseWriter, *http.Request, string) error {
	return func(w http.ResponseWriter, r *http.Request, by string) error {
		p, err := parseParams(r, filterNames...)
		if err != nil {
			return err
		}
		return s.preview(w, r, kind, by, p.ofForm(), bulkView{})
	}
}

func (s *Server) preview(w http.ResponseWriter, r *http.Request, kind, by string, p params, view bulkView) error {
	f, err := p.filter()
	if err != nil {
		return err
	}
	result, err := s.decideBulk(w, r, kind, by, bulkRequest{Filter: &f, Preview: true})
	if err != nil {
		return err
	}
	n := counted(result.Count, "dead letter")
	verb := verbs[kind]
	view.frame = frame{Title: verb + " many", Operator: s.asker(r)}
	view.Action, view.Heading, view.Back, view.Fields = kind, verb+" what the filter finds", p.link(), p.fields()
	if len(view.Fields) == 0 {
		view.Heading = verb + " all that are open"
	}
	view.Confirm, view.Possible, view.Expect = verb+" "+n, result.Count > 0, result.Count
	view.NoteRequired = kind == kindDiscard
	view.Preview = fmt.Sprintf("%s would be %s.", n, previewed[kind])
	if result.LeftOut > 0 {
		view.LeftOut = grouped(big.NewInt(int64(result.LeftOut))) + " of those that the filter finds would be left out: their state does not allow it, " +
			"a decision about them has yet to be applied, or a replay would decide otherwise. The page of each says more when it is tried there."
	}
	status := http.StatusOK
	if view.Changed {
		status = http.StatusConflict
	}
	return s.writePage(w, r, status, "bulk", view)
}

var (
	verbs     = map[string]string{kindRetry: "Retry", kindDiscard: "Discard", kindReopen: "Reopen"}
	previewed = map[string]string{kindRetry: "judged once more", kindDiscard: "discarded", kindReopen: "reopened"}
)

// bulkPage returns the handler of the form that confirms a preview. It sends the browser back to the list.
// When it is about other numbers by now, nothing is done and the preview is shown anew.
func (s *Server) bulkPage(kind string) func(http.ResponseWriter, *http.Request, string) error {
	return func(w http.ResponseWriter, r *http.Request, by string) error {
		p, err := parseForm(w, r, maxForm+3*maxNote+3*maxSearchText, append(slices.Clone(filterNames), "expect", "note")...)
		if err != nil {
			return err
		}
		p = p.ofForm()
		f, err := p.filter()
		if err != nil {
			return err
		}
		expect, err := strconv.Atoi(p.text("expect"))
		if err != nil {
			return badRequest("The form does not say how many it is about.", "Begin with the preview.")
		}
		result, err := s.decideBulk(w, r, kind, by, bulkRequest{Filter: &f, Note: p.text("note"), Expect: &expect})
		if problem, ok := errors.AsType[problem](err); ok && problem.Type == countDiffers {
			return s.preview(w, r, kind, by, p, bulkView{Changed: true, Note: p.text("note")})
		}
		if err != nil {
			return err
		}
		if result.last > 0 {
			s.awaitVerdict(r.Context(), result.last)
		}
		http.Redirect(w, r, p.link("done", kind, "count", strconv.Itoa(result.Count)), http.StatusSeeOther)
		return nil
	}
}

// countDiffers is the problem of a decision about another number than was expected.
const countDiffers = "urn:orderbox:problem:count-differs"
