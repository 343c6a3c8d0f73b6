package publisher

import (
	_ "embed"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"time"

	"orderbox"
)

// Model is the reference order, byte for byte. It is not to be changed.
//
//go:embed model.json
var Model []byte

// Orders is an endless stream of realistic orders in many languages, scripts and currencies, whose
// totals add up and which all satisfy the order schema. No order_uid comes twice in one stream. The seed
// alone decides what comes: there is neither a clock nor any other source of chance.
//
// The sequence may be ranged over several times, also concurrently; it begins anew each time.
func Orders(seed uint64) iter.Seq[orderbox.Order] {
	return func(yield func(orderbox.Order) bool) {
		g := newGenerator(seed)
		for yield(g.order()) {
		}
	}
}

const (
	uidBits = 60 // fifteen hexadecimal digits
	uidMask = 1<<uidBits - 1
	// An odd step goes through all 2^60 values before one comes again; this one, from the golden ratio,
	// spreads them well.
	uidStep = 0x9e3779b97f4a7c15
)

// generator makes one order after the other. It is not safe for concurrent use.
type generator struct {
	rand    *rand.Rand
	markets []market
	goods   []good
	banks   []string
	uid     uint64
}

func newGenerator(seed uint64) *generator {
	random := rand.New(rand.NewPCG(seed, 1))
	return &generator{rand: random, markets: markets(), goods: goods(), banks: banks(), uid: random.Uint64()}
}

func (g *generator) order() orderbox.Order {
	g.uid += uidStep
	uid := fmt.Sprintf("%015xtest", g.uid&uidMask)
	m := pick(g.rand, g.markets)
	track := "WBIL" + g.letters(10)
	created := time.Unix(firstOrder+g.rand.Int64N(lastOrder-firstOrder), g.rand.Int64N(1e9)).UTC()

	o := orderbox.Order{
		OrderUID:          uid,
		TrackNumber:       track,
		Entry:             "WBIL",
		Delivery:          g.delivery(m),
		Items:             g.items(m, track),
		Locale:            m.locale,
		InternalSignature: g.sometimes(10, "sig-"),
		CustomerID:        fmt.Sprintf("customer-%d", g.rand.IntN(1_000_000)),
		DeliveryService:   pick(g.rand, m.services),
		ShardKey:          fmt.Sprint(g.rand.IntN(10)),
		SmID:              g.rand.Int64N(100),
		DateCreated:       g.spell(created),
		OofShard:          fmt.Sprint(1 + g.rand.IntN(2)),
	}
	o.Payment = g.payment(m, uid, created, o.Items)
	return o
}

// Orders are made between 2021 and 2026.
const (
	firstOrder = 1609459200
	lastOrder  = 1767225600
)

func (g *generator) delivery(m market) orderbox.Delivery {
	p := pick(g.rand, m.places)
	address := fmt.Sprintf("%s %d", pick(g.rand, m.streets), 1+g.rand.IntN(180))
	if g.rand.IntN(25) == 0 {
		address += pick(g.rand, []string{" 🏠", " 🚪 2", " (🐕!)", " 👨‍👩‍👧"})
	}
	return orderbox.Delivery{
		Name:    pick(g.rand, m.given) + m.between + pick(g.rand, m.family),
		Phone:   g.digits(m.phone),
		Zip:     g.digits(m.zip),
		City:    p.city,
		Address: address,
		Region:  p.region,
		Email:   fmt.Sprintf("%s%d@%s", pick(g.rand, mailboxes()), g.rand.IntN(10_000), pick(g.rand, mailDomains())),
	}
}

// items makes one item mostly, and up to six.
func (g *generator) items(m market, track string) []orderbox.Item {
	count := 1
	for count < 6 && g.rand.IntN(5) < 2 {
		count++
	}
	items := make([]orderbox.Item, count)
	for i := range items {
		article := pick(g.rand, g.goods)
		price := (article.price + g.rand.Int64N(article.price)) * m.scale
		sale := pick(g.rand, []int64{0, 0, 0, 5, 10, 15, 20, 30, 30, 50, 70, 100})
		items[i] = orderbox.Item{
			ChrtID:      1_000_000 + g.rand.Int64N(9_000_000),
			TrackNumber: track,
			Price:       price,
			RID:         fmt.Sprintf("%016xbtest", g.rand.Uint64()),
			Name:        article.name,
			Sale:        sale,
			Size:        pick(g.rand, article.sizes),
			TotalPrice:  price * (100 - sale) / 100,
			NmID:        1_000_000 + g.rand.Int64N(9_000_000),
			Brand:       article.brand,
			Status:      pick(g.rand, []int64{200, 201, 202, 202, 202, 204, 409}),
		}
	}
	return items
}

func (g *generator) payment(m market, uid string, created time.Time, items []orderbox.Item) orderbox.Payment {
	var goods, fee int64
	for _, item := range items {
		goods += item.TotalPrice
	}
	if g.rand.IntN(8) == 0 {
		fee = goods / 10
	}
	cost := g.rand.Int64N(20) * 100 * m.scale
	return orderbox.Payment{
		Transaction:  uid,
		RequestID:    g.sometimes(20, "req-"),
		Currency:     m.currency,
		Provider:     pick(g.rand, m.providers),
		Amount:       goods + cost + fee,
		PaymentDT:    created.Unix() + g.rand.Int64N(600),
		Bank:         pick(g.rand, g.banks),
		DeliveryCost: cost,
		GoodsTotal:   goods,
		CustomFee:    fee,
	}
}

// spell writes an instant in one of the spellings that RFC 3339 allows.
func (g *generator) spell(at time.Time) string {
	east := time.FixedZone("", (g.rand.IntN(27)-12)*3600)
	switch g.rand.IntN(12) {
	case 0:
		return at.In(east).Format("2006-01-02T15:04:05-07:00")
	case 1:
		return at.Format("2006-01-02T15:04:05.000Z")
	case 2:
		return at.In(east).Format("2006-01-02T15:04:05.000000-07:00")
	case 3:
		return at.Format("2006-01-02T15:04:05.000000000Z")
	case 4:
		return at.Format("2006-01-02T15:04:05") + "+00:00"
	case 5:
		return at.Format("2006-01-02T15:04:05") + "-00:00" // the place is unknown, says RFC 3339
	case 6:
		return strings.ToLower(at.Format("2006-01-02T15:04:05Z"))
	default:
		return at.Format("2006-01-02T15:04:05Z")
	}
}

// sometimes is empty but for one time in n.
func (g *generator) sometimes(n int, prefix string) string {
	if g.rand.IntN(n) != 0 {
		return ""
	}
	return fmt.Sprintf("%s%08x", prefix, g.rand.Uint32())
}

// digits puts a digit in the place of each #.
func (g *generator) digits(pattern string) string {
	out := []byte(pattern)
	for i, c := range out {
		if c == '#' {
			out[i] = '0' + byte(g.rand.IntN(10))
		}
	}
	return string(out)
}

func (g *generator) letters(n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = 'A' + byte(g.rand.IntN(26))
	}
	return string(out)
}

func pick[T any](random *rand.Rand, from []T) T {
	return from[random.IntN(len(from))]
}
