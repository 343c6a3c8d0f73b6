package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"orderbox/static"
)

// bulkView is what pages/bulk.html reads.
type bulkView struct {
	frame
	Action           string
	Heading, Confirm *static.Text
	Back             string // link to the list
	Fields           []field
	Preview, LeftOut *static.Text
	Possible         bool
	Expect           int
	NoteRequired     bool
	Note             string
	Changed          bool // since the last preview

	Patching   bool         // it is an amendment, whose patch is asked for or previewed
	Patch      string       // as it was given
	Wrong, Fix *static.Text // with the patch
	Example    int64        // a dead letter that the patch applies to; 0 for none
	Link       string       // of its page
	Amended    string       // what the patch makes of it
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
			view := s.newBulkView(r, kind, p, f)
			view.Patch = examplePatch(f)
			return s.writePage(w, r, http.StatusOK, "bulk", view)
		}
		return s.preview(w, r, kind, by, p, bulkView{})
	}
}

// newBulkView is a page about all that a filter means, without numbers.
func (s *Server) newBulkView(r *http.Request, kind string, p params, f filter) bulkView {
	words := bulkTexts[kind]
	v := bulkView{
		frame: s.frame(r, words.found), Action: kind, Heading: words.found,
		Back: p.link(), Fields: p.fields(), NoteRequired: kind == kindDiscard, Patching: kind == kindAmend,
	}
	if len(v.Fields) == 0 {
		v.Title, v.Heading = words.open, words.open
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
	view := s.newBulkView(r, kind, p, f)
	view.Note, view.Patch, view.Changed = known.Note, known.Patch, known.Changed
	result, err := s.decideBulk(w, r, kind, by, bulkRequest{Filter: &f, Preview: true, Patch: rawPatch(view.Patch)})
	if wrong, ok := errors.AsType[problem](err); ok && view.Patching && wrong.Status == http.StatusBadRequest {
		view.Wrong, view.Fix = told(wrong.Detail), told(wrong.Fix)
		return s.writePage(w, r, http.StatusBadRequest, "bulk", view)
	}
	if err != nil {
		return err
	}
	view.Confirm, view.Preview = bulkTexts[kind].about(static.Count{N: int64(result.Count), Noun: "dead letter"})
	view.Possible, view.Expect = result.Count > 0, result.Count
	view.LeftOut = leftOut(result)
	if result.Passing != nil {
		view.Preview = static.Join(view.Preview, static.Say("The schema in force lets %s of them through.", *result.Passing))
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
func leftOut(b bulkResult) (text *static.Text) {
	if b.Unpatched > 0 {
		text = static.Say("Left out, for the patch does not apply: %s. No JSON object, a test that fails, or a place that is not there.", static.Count{N: int64(b.Unpatched), Noun: "dead letter"})
	}
	if n := b.LeftOut - b.Unpatched; n > 0 {
		text = static.Join(text, static.Say("%s of those that the filter finds would be left out: their state does not allow it, a decision about them has yet to be applied, or a replay would decide otherwise. The page of each says more when it is tried there.", n))
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

// bulkTexts are the texts of pages about many dead letters, by what is decided.
var bulkTexts = map[string]struct {
	found, open *static.Text
	about       func(letters static.Count) (confirm, preview *static.Text)
}{
	kindRetry: {static.Say("Retry what the filter finds"), static.Say("Retry all that are open"), func(n static.Count) (confirm, preview *static.Text) {
		return static.Say("Retry %s", n), static.Say("%s would be judged once more.", n)
	}},
	kindAmend: {static.Say("Amend what the filter finds"), static.Say("Amend all that are open"), func(n static.Count) (confirm, preview *static.Text) {
		return static.Say("Amend %s", n), static.Say("%s would be amended, and judged so.", n)
	}},
	kindDiscard: {static.Say("Discard what the filter finds"), static.Say("Discard all that are open"), func(n static.Count) (confirm, preview *static.Text) {
		return static.Say("Discard %s", n), static.Say("%s would be discarded.", n)
	}},
	kindReopen: {static.Say("Reopen what the filter finds"), static.Say("Reopen all that are open"), func(n static.Count) (confirm, preview *static.Text) {
		return static.Say("Reopen %s", n), static.Say("%s would be reopened.", n)
	}},
}

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
			view := s.newBulkView(r, kind, p, f)
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
