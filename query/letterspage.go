package query

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"orderbox/static"
)

const (
	lettersPath = "/dead-letters"
	// groupsOnPage is how many places the page lists; the endpoint lists more.
	groupsOnPage = 12
	// wholeMessage is how a page's address says that a message fails as a whole: a form sends its empty
	// fields as well, and there they mean anything.
	wholeMessage = "whole"
)

// filterNames are the parameters that say which dead letters are meant, in the order of the form.
var filterNames = []string{"reason", "state", "place", "text", "since", "until"}

// lettersView is what pages/letters.html reads.
type lettersView struct {
	frame
	filterView
	Said    *static.Text // what has just been done
	Total   *static.Text // how many are in the state
	Groups  []groupLine
	Letters []letterLine

	MoreGroups  bool
	Can         actions
	First, Next string // links
	Waves       string // link to retrying just these in waves; empty when that cannot be said there
}

// filterView is a filter as the fields of a form.
type filterView struct {
	Filtered                  bool
	Reasons, States           []option
	Place, Text, Since, Until string
	Fields                    []field // those that are set
}

type option struct {
	Value  string
	Chosen bool
}

// groupLine is a place where messages fail, as a link that sets the filter.
type groupLine struct {
	Count               int64
	Fail                *static.Text
	Place, Reason, Link string
	Chosen              bool
}

// letterLine is a dead letter in a list.
type letterLine struct {
	ID                             int64
	Link                           string
	Reason, State, Sentence, Place string
	Older                          bool // than the schema in force
	Size                           static.Bytes
	Received                       moment
}

// lettersPage lists dead letters, with the places where they fail and what can be decided about all of them.
func (s *Server) lettersPage(w http.ResponseWriter, r *http.Request) error {
	p, err := parseParams(r, append(slices.Clone(filterNames), "after", "done", "count")...)
	if err != nil {
		return err
	}
	p = p.ofForm()
	before, _, err := p.page()
	if err != nil {
		return err
	}
	f, err := p.filter()
	if err != nil {
		return err
	}
	view := lettersView{frame: s.frame(r, static.Say("Dead letters")), Said: p.said()}
	view.Here = p.link()
	var reasons []string
	var letters []deadLetter
	var next *string
	var g groups
	err = s.query(r.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		if reasons, err = listReasons(ctx, tx); err != nil {
			return err
		}
		if letters, next, err = listDeadLetters(ctx, tx, f, before, defaultLimit); err != nil || p["after"] != nil {
			return err
		}
		g, err = readGroups(ctx, tx, f.State, "")
		return err
	})
	if err != nil {
		return err
	}
	view.filterView = p.view(f, reasons)
	for _, d := range letters {
		view.Letters = append(view.Letters, newLetterLine(d))
	}
	if s.o.Operator != nil && len(letters) > 0 {
		view.Can = possible(f.State)
	}
	if view.Can.Retry && s.o.Replays != nil {
		view.Waves = p.wavesLink()
	}
	view.addGroups(g, f)
	if next != nil {
		view.Next = p.link("after", *next)
	}
	if p["after"] != nil {
		view.First = p.link()
	}
	return s.writePage(w, r, http.StatusOK, "letters", view)
}

func newLetterLine(d deadLetter) letterLine {
	line := letterLine{
		ID: d.ID, Link: letterLink(d.ID), Reason: d.Reason, State: d.State, Sentence: d.Sentence, Older: d.Outdated,
		Size: static.Bytes(d.Size), Received: newMoment(d.ReceivedAt, d.ReceivedAt.Format(time.RFC3339Nano)),
	}
	if len(d.Violations) > 0 {
		line.Place = d.Violations[0].Pointer
	}
	return line
}

func letterLink(id int64) string { return lettersPath + "/" + strconv.FormatInt(id, 10) }

// backTo returns the link of the page where a request about dead letters began, and its text.
func backTo(r *http.Request) (link string, text *static.Text) {
	id, err := deadLetterID(r)
	if err != nil || r.Method != http.MethodPost {
		return lettersPath, static.Say("Back to the dead letters")
	}
	return letterLink(id), static.Say("Back to dead letter %s", strconv.FormatInt(id, 10))
}

// stated says how many are in a state.
var stated = map[string]func(n int64) *static.Text{
	stateOpen:      func(n int64) *static.Text { return static.Say("%s open", n) },
	stateResolved:  func(n int64) *static.Text { return static.Say("%s resolved", n) },
	stateDiscarded: func(n int64) *static.Text { return static.Say("%s discarded", n) },
	stateAny:       func(n int64) *static.Text { return static.Say("%s in any state", n) },
}

// failing says of a number of messages that they fail at a place, which follows, or as a whole.
func failing(n int64, place string) *static.Text {
	switch {
	case place == "" && n == 1:
		return static.Say("fails as a whole")
	case place == "":
		return static.Say("fail as a whole")
	case n == 1:
		return static.Say("fails at")
	}
	return static.Say("fail at")
}

func (v *lettersView) addGroups(g groups, f filter) {
	var total int64
	for _, reason := range g.Reasons {
		total += reason.Count
	}
	if g.Reasons != nil {
		v.Total = stated[f.State](total)
	}
	v.MoreGroups = len(g.Places) > groupsOnPage
	for _, place := range g.Places[:min(groupsOnPage, len(g.Places))] {
		line := groupLine{
			Count: place.Count, Fail: failing(place.Count, place.Place), Place: place.Place, Reason: place.Reason,
			Chosen: f.Reason == place.Reason && f.Place != nil && *f.Place == place.Place,
		}
		address := url.Values{"reason": {place.Reason}, "place": {cmp.Or(place.Place, wholeMessage)}}
		if f.State != stateOpen {
			address.Set("state", f.State)
		}
		line.Link = lettersPath + "?" + address.Encode()
		v.Groups = append(v.Groups, line)
	}
}

// ofForm leaves out the fields that were left empty, and reads a form's spelling of places and times.
func (p params) ofForm() params {
	p = maps.Clone(p)
	for name, values := range p {
		if values[0] == "" {
			delete(p, name)
		}
	}
	if p.text("state") == stateOpen {
		delete(p, "state") // which is meant where nothing is said
	}
	if p.text("place") == wholeMessage {
		p["place"] = []string{""}
	}
	for _, name := range []string{"since", "until"} {
		for _, spelling := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} {
			if at, err := time.Parse(spelling, p.text(name)); err == nil {
				p[name] = []string{at.Format(time.RFC3339)}
			}
		}
	}
	return p
}

// forForm is the reverse for one parameter.
func (p params) forForm(name string) string {
	text := p.text(name)
	switch name {
	case "place":
		if p[name] != nil && text == "" {
			return wholeMessage
		}
	case "since", "until":
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			return at.UTC().Format("2006-01-02T15:04:05")
		}
	}
	return text
}

// link returns the address of the list with this filter, and with what else is to be said, name by value.
func (p params) link(more ...string) string {
	address := url.Values{}
	for _, f := range p.fields() {
		address.Set(f.Name, f.Value)
	}
	for i := 0; i < len(more); i += 2 {
		address.Set(more[i], more[i+1])
	}
	if len(address) == 0 {
		return lettersPath
	}
	return lettersPath + "?" + address.Encode()
}

// wavesLink returns the address of the form that retries what the filter finds in waves; empty when that form
// does not know this filter, for it retries open ones.
func (p params) wavesLink() string {
	if p["state"] != nil {
		return ""
	}
	address := url.Values{}
	for _, f := range p.fields() {
		address.Set(f.Name, f.Value)
	}
	return replayPath + "?" + address.Encode() + "#waves"
}

// fields are the parts of the filter that are set, as a form's fields.
func (p params) fields() (set []field) {
	for _, name := range filterNames {
		if p[name] != nil {
			set = append(set, field{name, p.forForm(name)})
		}
	}
	return set
}

func (p params) view(f filter, reasons []string) filterView {
	v := filterView{
		Fields: p.fields(), Place: p.forForm("place"), Text: f.Text, Since: p.forForm("since"), Until: p.forForm("until"),
	}
	v.Filtered = len(v.Fields) > 0
	for _, reason := range reasons {
		v.Reasons = append(v.Reasons, option{reason, reason == f.Reason})
	}
	for _, state := range states {
		v.States = append(v.States, option{state, state == f.State})
	}
	return v
}
