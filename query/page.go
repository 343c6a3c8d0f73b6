package query

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"orderbox"
	"orderbox/static"
)

const (
	// latestOnPage is how many orders the home page lists.
	latestOnPage = 20
	// maxInlineJSON keeps a page small when an order is not: a larger one is only linked to.
	maxInlineJSON = 256 << 10
)

// homePage shows the search field and the latest orders.
func (s *Server) homePage(w http.ResponseWriter, r *http.Request) error {
	c := s.cache()
	view := homeView{
		frame:   s.frame(r, static.Say("Look up an order")),
		Loading: !c.complete.Load(), // then the latest so far are among the oldest there are
	}
	view.Focus = true
	if view.Count = c.total(); view.Loading {
		view.Count, _ = c.size()
	}
	if s.o.Missing != nil {
		if messages, gaps := s.o.Missing(); messages > 0 {
			view.Missing = static.Say("Missing: %s in %s.", static.Count{N: messages, Noun: "message"}, static.Count{N: gaps, Noun: "gap"})
		}
	}
	if !view.Loading {
		for _, e := range c.latest(0, latestOnPage) {
			o, err := decode(e)
			if err != nil {
				return err
			}
			view.Latest = append(view.Latest, newOrderLine(o))
		}
	}
	return s.writePage(w, r, http.StatusOK, "home", view)
}

// orderPage shows one order: at its link, or to the search form (GET /orders?order_uid=), which is sent on
// to the link when there is such an order, so that the address can be passed on. The form may hold a track number.
func (s *Server) orderPage(w http.ResponseWriter, r *http.Request) error {
	uid, err := uidOf(r)
	if err != nil {
		return err
	}
	searched := mux.Vars(r)["order_uid"] == ""
	if searched {
		if uid = r.URL.Query().Get("order_uid"); strings.TrimSpace(uid) == "" {
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return nil
		}
	}
	e, err := s.lookupForPage(r.Context(), uid)
	if trimmed := strings.TrimSpace(uid); err != nil && searched && trimmed != uid {
		// A space that came along with a pasted id, unless it is a part of one.
		if found, notEither := s.lookupForPage(r.Context(), trimmed); notEither == nil {
			e, err, uid = found, nil, trimmed
		}
	}
	if err != nil && searched && asProblem(err).Status == http.StatusNotFound {
		return s.searchTrack(w, r, strings.TrimSpace(uid), err)
	}
	if err != nil {
		return err
	}
	if searched && !isDots(uid) {
		http.Redirect(w, r, orderLink(uid), http.StatusSeeOther)
		return nil
	}
	o, err := decode(e)
	if err != nil {
		return err
	}
	view := newOrderView(o, e.body)
	view.frame = s.frame(r, static.Say("Order %s", uid))
	if view.Operator != "" {
		w.Header().Set("Cache-Control", "no-store") // nobody else may see this
		if view.Source, err = s.readSourceView(r.Context(), uid, e); err != nil {
			return err
		}
	}
	return s.writePage(w, r, http.StatusOK, "order", view)
}

// asset answers with a style sheet, a script or a picture. Its name says which bytes it stands for, so it
// need not be asked for again.
func (s *Server) asset(w http.ResponseWriter, r *http.Request) error {
	a, ok := s.site.Asset(mux.Vars(r)["name"])
	if !ok {
		return notFound("No asset has this name.", "Load the page again: it names the ones there are now.")
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	return send(w, http.StatusOK, a.ContentType, a.Body)
}

// errorPage shows a problem to a person. When it cannot, it shows a page that was made at the start.
func (s *Server) errorPage(w http.ResponseWriter, r *http.Request, p problem) {
	name, err := "login", error(nil)
	if p.Status == http.StatusUnauthorized {
		err = s.askToLogIn(w, r)
	} else {
		var view problemView
		name, view = s.newProblemView(r, p)
		err = s.sendPage(w, r, p.Status, name, view) // small, and perhaps about there being no place
	}
	if err == nil {
		return
	}
	s.log.Error("error page failed", "page", name, "error", err)
	send(w, p.Status, typeHTML, s.site.Broken(s.language(r))) // nobody is left to tell when this fails
}

// writePage answers with a page, which is complete before its first byte is sent. A browser may keep it,
// unless the header says otherwise already, and asks each time whether it is still so: the home page asks
// every few seconds, to show what is new.
func (s *Server) writePage(w http.ResponseWriter, r *http.Request, status int, name string, view any) error {
	done, err := s.takePlace(r.Context())
	if err != nil {
		return err
	}
	defer done()
	return s.sendPage(w, r, status, name, view)
}

func (s *Server) sendPage(w http.ResponseWriter, r *http.Request, status int, name string, view any) error {
	w.Header().Set("Vary", "Accept-Language, Cookie")
	body, err := s.site.Render(s.language(r), name, view)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(body)
	if status == http.StatusOK && w.Header().Get("Cache-Control") == "" && notModified(w, r, entityTag(digest[:digestBytes])) {
		return nil
	}
	return send(w, status, typeHTML, body)
}

func decode(e entry) (*orderbox.Order, error) {
	var o orderbox.Order
	if err := json.Unmarshal(e.body, &o); err != nil {
		return nil, fmt.Errorf("decode the order at position %d: %w", e.position, err)
	}
	return &o, nil
}

// isDots tells the ids that cannot be a segment of a path: a browser walks along them instead.
func isDots(uid string) bool { return uid == "." || uid == ".." }

// orderLink returns the address of an order's page, and behind /api/v1 of its JSON.
func orderLink(uid string) string {
	if isDots(uid) {
		return "/orders?order_uid=" + uid
	}
	return "/orders/" + url.PathEscape(uid)
}

// homeView is what pages/home.html reads.
type homeView struct {
	frame
	Loading bool
	Count   int          // all orders
	Missing *static.Text // how many messages never came; nil for none
	Latest  []orderLine
}

// orderLine is an order in a list.
type orderLine struct {
	UID, Link string
	Created   moment
	Items     static.Count
	Amount    money
}

// orderView is what pages/order.html reads.
type orderView struct {
	frame
	Order         *orderbox.Order
	Created, Paid moment
	Items         *static.Text // how many, and their status

	Goods, DeliveryCost, CustomFee, Amount money
	Parts                                  money // what the three add up to
	PartsDiffer                            bool  // from the amount

	Lines       []itemLine
	ItemsTotal  money
	ItemsDiffer bool // from the goods

	Handling []field
	JSONLink string
	JSON     string // indented; empty when it is too much for a page

	Source *sourceView // for the operator
}

// itemLine is an item with its amounts made readable.
type itemLine struct {
	orderbox.Item
	Price, Total int64
	OwnTrack     bool // its track number is not the order's
}

// field is a value that is shown under its name and as it is.
type field struct{ Name, Value string }

// problemView is what pages/problem.html and pages/unknown.html read.
type problemView struct {
	frame
	Status               int
	Heading, Detail, Fix *static.Text
	Starting             bool   // waiting helps
	Back                 string // the operator's page that this is about, when it is about one
	BackTo               *static.Text

	UID, Link            string // the order that is not there
	Trimmed, TrimmedLink string // its id without the spaces around it, when it has some
}

func newOrderLine(o *orderbox.Order) orderLine {
	return orderLine{
		UID:     o.OrderUID,
		Link:    orderLink(o.OrderUID),
		Created: instant(o.DateCreated),
		Items:   static.Count{N: int64(len(o.Items)), Noun: "item"},
		Amount:  newMoney(big.NewInt(o.Payment.Amount), o.Payment.Currency),
	}
}

func newOrderView(o *orderbox.Order, body []byte) orderView {
	p := o.Payment
	// Each amount may be as large as an int64, so their sums need more room.
	goods, amount := big.NewInt(p.GoodsTotal), big.NewInt(p.Amount)
	parts, items := new(big.Int).Add(goods, big.NewInt(p.DeliveryCost)), new(big.Int)
	parts.Add(parts, big.NewInt(p.CustomFee))
	v := orderView{
		Order:        o,
		JSONLink:     "/api/v1" + orderLink(o.OrderUID),
		Created:      instant(o.DateCreated),
		Paid:         newMoment(time.Unix(p.PaymentDT, 0), strconv.FormatInt(p.PaymentDT, 10)),
		Items:        summary(o.Items),
		Goods:        newMoney(goods, p.Currency),
		DeliveryCost: newMoney(big.NewInt(p.DeliveryCost), p.Currency),
		CustomFee:    newMoney(big.NewInt(p.CustomFee), p.Currency),
		Amount:       newMoney(amount, p.Currency),
		Parts:        newMoney(parts, p.Currency),
		PartsDiffer:  parts.Cmp(amount) != 0,
		Handling: []field{
			{"Customer", o.CustomerID}, {"Entry", o.Entry}, {"Locale", o.Locale}, {"Shard key", o.ShardKey},
			{"SM id", strconv.FormatInt(o.SmID, 10)}, {"OOF shard", o.OofShard}, {"Internal signature", o.InternalSignature},
		},
	}
	for _, i := range o.Items {
		items.Add(items, big.NewInt(i.TotalPrice))
		v.Lines = append(v.Lines, itemLine{
			Item:     i,
			Price:    i.Price,
			Total:    i.TotalPrice,
			OwnTrack: i.TrackNumber != o.TrackNumber,
		})
	}
	v.ItemsTotal, v.ItemsDiffer = newMoney(items, p.Currency), items.Cmp(goods) != 0
	if len(body) <= maxInlineJSON {
		var indented bytes.Buffer
		if json.Indent(&indented, body, "", "  ") == nil { // it was decoded just now
			v.JSON = indented.String()
		}
	}
	return v
}

// newProblemView returns a problem as a page, and which one.
func (s *Server) newProblemView(r *http.Request, p problem) (name string, v problemView) {
	uid, err := uidOf(r)
	if err != nil || uid == "" {
		uid = r.URL.Query().Get("order_uid")
	}
	uid = strings.ToValidUTF8(uid, "\uFFFD")
	v = problemView{
		frame:  s.frame(r, static.Told(p.Title)),
		Status: p.Status, Heading: static.Told(p.Title), Detail: told(p.Detail), Fix: told(p.Fix),
	}
	v.Query, v.Focus = uid, true
	c := s.cache()
	switch {
	case v.Operator != "" && strings.HasPrefix(r.URL.Path, lettersPath):
		v.Back, v.BackTo = backTo(r)
	case v.Operator != "" && strings.HasPrefix(r.URL.Path, replayPath+"/"):
		v.Back, v.BackTo = replayPath, static.Say("Back to the replay")
	case p.Status == http.StatusNotFound && uid != "":
		v.Title, v.UID, v.Link = static.Say("No such order"), uid, orderLink(uid)
		if trimmed := strings.TrimSpace(uid); trimmed != uid && trimmed != "" {
			v.Trimmed, v.TrimmedLink = trimmed, orderLink(trimmed)
		}
		return "unknown", v
	case p.Status == http.StatusServiceUnavailable && uid != "" && !c.complete.Load():
		count, _ := c.size()
		v.Starting, v.Title = true, static.Say("One moment, please")
		v.Heading = v.Title
		v.Detail = static.Say("Orderbox has just started and is still reading its orders, %s so far. The one that you asked for may be among those to come.", count)
	}
	return "problem", v
}

// moment is a point in time for reading.
type moment struct {
	At       time.Time
	Machine  string // the same for a browser; empty when it was not understood
	Original string // as it was sent
}

func newMoment(t time.Time, original string) moment {
	return moment{At: t, Machine: t.UTC().Format(time.RFC3339), Original: original}
}

// instant reads an RFC 3339 instant. What Go does not take for one (RFC 3339 allows leap seconds) is shown
// as it was sent.
func instant(text string) moment {
	t, err := time.Parse(time.RFC3339, strings.ToUpper(text)) // 2021-11-26t06:22:19z is one as well
	if err != nil {
		return moment{Original: text}
	}
	return newMoment(t, text)
}

// money is an amount in whole units of its currency.
type money struct {
	Amount   *big.Int
	Currency string
}

func newMoney(n *big.Int, currency string) money { return money{n, currency} }

// Exact is the amount for a program.
func (m money) Exact() string { return m.Amount.String() }

// summary says how many items there are and how they stand.
func summary(items []orderbox.Item) *static.Text {
	const told = 3 // more kinds of status than this are only counted
	count := map[int64]int{}
	var statuses []int64 // as they come
	for _, i := range items {
		if count[i.Status]++; count[i.Status] == 1 {
			statuses = append(statuses, i.Status)
		}
	}
	all := static.Count{N: int64(len(items)), Noun: "item"}
	switch {
	case len(statuses) == 0:
		return static.Say("%s", all)
	case len(statuses) == 1:
		return static.Say("%s, status %s", all, strconv.FormatInt(statuses[0], 10))
	case len(statuses) > told:
		return static.Say("%s, different statuses: %s", all, len(statuses))
	}
	slices.SortStableFunc(statuses, func(a, b int64) int { return count[b] - count[a] })
	text := static.Say("%s:", all)
	for i, status := range statuses {
		part := static.Say("%s with status %s,", count[status], strconv.FormatInt(status, 10))
		if i == len(statuses)-1 {
			part = static.Say("%s with status %s", count[status], strconv.FormatInt(status, 10))
		}
		text = static.Join(text, part)
	}
	return text
}
