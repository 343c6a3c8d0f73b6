package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
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

	Patching   bool   // it is an amendment, whose patch is asked for or previewed
	Patch      string // as it was given
	Wrong, Fix string // with the patch
	Example    int64  // a dead letter that the patch applies to; 0 for none
	Link       string // of its page
	Amended    string // what the patch makes of it
}

// previewPage returns the handler that says what a decision about all dead letters that a filter means
// would be about, and asks for a confirmation.
func (s *Server) previewPage(kind string) func(http.ResponseWriter, *http.Request, string) error {
	return func(w http.ResponseWriter, r *http.Request, by string) error {
		p, err := parseParams(r, filterNames...)
		if err != nil {
			return err
		}
		p = p.ofForm()
		if kind == kindAmend {
			f, err := p.filter()
			if err != nil {
				return err
			}
			view := newBulkView(kind, s.asker(r), p, f)
			view.Patch = examplePatch(f)
			return s.writePage(w, r, http.StatusOK, "bulk", view)
		}
		return s.preview(w, r, kind, by, p, bulkView{})
	}
}

// newBulkView is a page about all that a filter means, without numbers.
func newBulkView(kind, operator string, p params, f filter) bulkView {
	verb := verbs[kind]
	v := bulkView{
		frame: frame{Title: verb + " many", Operator: operator}, Action: kind, Heading: verb + " what the filter finds",
		Back: p.link(), Fields: p.fields(), NoteRequired: kind == kindDiscard, Patching: kind == kindAmend,
	}
	if len(v.Fields) == 0 {
		v.Heading = verb + " all that are open"
	}
	return v
}

// examplePatch is a patch to begin with, at the place of the filter.
func examplePatch(f filter) string {
	place := "/payment/amount"
	if f.Place != nil && *f.Place != "" {
		place = strings.ReplaceAll(*f.Place, "*", "0")
	}
	text, _ := json.Marshal(place) // which no text refuses
	return fmt.Sprintf(`[{"op": "replace", "path": %s, "value": 0}]`, text)
}

// preview shows the numbers. The view holds what is known besides: the note, the patch, and that the numbers
// have changed.
func (s *Server) preview(w http.ResponseWriter, r *http.Request, kind, by string, p params, known bulkView) error {
	f, err := p.filter()
	if err != nil {
		return err
	}
	view := newBulkView(kind, s.asker(r), p, f)
	view.Note, view.Patch, view.Changed = known.Note, known.Patch, known.Changed
	result, err := s.decideBulk(w, r, kind, by, bulkRequest{Filter: &f, Preview: true, Patch: rawPatch(view.Patch)})
	if wrong, ok := errors.AsType[problem](err); ok && view.Patching && wrong.Status == http.StatusBadRequest {
		view.Wrong, view.Fix = wrong.Detail, wrong.Fix
		return s.writePage(w, r, http.StatusBadRequest, "bulk", view)
	}
	if err != nil {
		return err
	}
	n := counted(result.Count, "dead letter")
	view.Confirm, view.Possible, view.Expect = verbs[kind]+" "+n, result.Count > 0, result.Count
	view.Preview = fmt.Sprintf("%s would be %s.", n, previewed[kind])
	view.LeftOut = leftOut(result)
	if result.Passing != nil {
		view.Preview += fmt.Sprintf(" The schema in force lets %s of them through.", grouped(big.NewInt(int64(*result.Passing))))
	}
	if view.Example = result.patched.example; view.Example > 0 {
		view.Link, view.Amended = letterLink(view.Example), shown(result.patched.amended)
	}
	status := http.StatusOK
	if view.Changed {
		status = http.StatusConflict
	}
	return s.writePage(w, r, status, "bulk", view)
}

// leftOut says how many of those that the filter finds are left out, and why.
func leftOut(b bulkResult) (text string) {
	if b.Unpatched > 0 {
		text = fmt.Sprintf("To %s the patch does not apply: no JSON object, a test that fails, or a place that is not there. ", counted(b.Unpatched, "dead letter"))
	}
	if n := b.LeftOut - b.Unpatched; n > 0 {
		text += grouped(big.NewInt(int64(n))) + " of those that the filter finds would be left out: their state does not allow it, " +
			"a decision about them has yet to be applied, or a replay would decide otherwise. The page of each says more when it is tried there."
	}
	return text
}

// rawPatch is a patch as it stands in a form, or nothing.
func rawPatch(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

// shown is JSON for a person, cut to what fits a page.
func shown(text []byte) string {
	var indented bytes.Buffer
	if json.Indent(&indented, text, "", "  ") != nil || indented.Len() > maxExample {
		return string(text[:min(len(text), maxExample)])
	}
	return indented.String()
}

const (
	// maxPatchText is the longest patch in a form, in bytes.
	maxPatchText = 64 << 10
	// maxExample is how much is shown of an example, in bytes.
	maxExample = 64 << 10
)

var (
	verbs     = map[string]string{kindRetry: "Retry", kindAmend: "Amend", kindDiscard: "Discard", kindReopen: "Reopen"}
	previewed = map[string]string{kindRetry: "judged once more", kindAmend: "amended, and judged so", kindDiscard: "discarded", kindReopen: "reopened"}
)

// bulkPage returns the handler of the form that confirms a preview. It sends the browser back to the list.
// When it is about other numbers by now, nothing is done and the preview is shown anew. Of an amendment,
// step says whether the preview is asked for, or the patch is to be changed once more.
func (s *Server) bulkPage(kind string) func(http.ResponseWriter, *http.Request, string) error {
	return func(w http.ResponseWriter, r *http.Request, by string) error {
		allowed := append(slices.Clone(filterNames), "expect", "note")
		if kind == kindAmend {
			allowed = append(allowed, "patch", "step")
		}
		p, err := parseForm(w, r, maxForm+3*maxNote+3*maxSearchText+3*maxPatchText, allowed...)
		if err != nil {
			return err
		}
		p = p.ofForm()
		f, err := p.filter()
		if err != nil {
			return err
		}
		given := bulkView{Note: p.text("note"), Patch: p.text("patch")}
		switch step := p.text("step"); {
		case step == "change":
			view := newBulkView(kind, s.asker(r), p, f)
			view.Note, view.Patch = given.Note, given.Patch
			return s.writePage(w, r, http.StatusOK, "bulk", view)
		case step == "preview":
			return s.preview(w, r, kind, by, p, given)
		}
		expect, err := strconv.Atoi(p.text("expect"))
		if err != nil {
			return badRequest("The form does not say how many it is about.", "Begin with the preview.")
		}
		result, err := s.decideBulk(w, r, kind, by, bulkRequest{Filter: &f, Note: given.Note, Expect: &expect, Patch: rawPatch(given.Patch)})
		if problem, ok := errors.AsType[problem](err); ok && problem.Type == countDiffers {
			given.Changed = true
			return s.preview(w, r, kind, by, p, given)
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
