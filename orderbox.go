package orderbox

import "github.com/segmentio/encoding/json"

// Order is one order as the reference model writes it. The tags, in the model's order, are the only
// place in Go where the field names of the wire format are spelt.
//
// Every integer is a 64-bit one and every string may hold any Unicode text but U+0000; the narrower
// bounds are those of the JSON Schema that the projector judges by. An Order carries personal data:
// it is never logged.
type Order struct {
	OrderUID          string   `json:"order_uid"`
	TrackNumber       string   `json:"track_number"`
	Entry             string   `json:"entry"`
	Delivery          Delivery `json:"delivery"`
	Payment           Payment  `json:"payment"`
	Items             []Item   `json:"items"`
	Locale            string   `json:"locale"`
	InternalSignature string   `json:"internal_signature"`
	CustomerID        string   `json:"customer_id"`
	DeliveryService   string   `json:"delivery_service"`
	ShardKey          string   `json:"shardkey"`
	SmID              int64    `json:"sm_id"`
	// DateCreated is an RFC 3339 instant exactly as the sender spelt it: RFC 3339 has many spellings
	// of one instant, and an order comes back as it was sent.
	DateCreated string `json:"date_created"`
	OofShard    string `json:"oof_shard"`
}

// Delivery says where an order goes. All of it is personal data.
type Delivery struct {
	Name    string `json:"name"`
	Phone   string `json:"phone"`
	Zip     string `json:"zip"`
	City    string `json:"city"`
	Address string `json:"address"`
	Region  string `json:"region"`
	Email   string `json:"email"`
}

// Payment says how an order was paid. Amounts are whole units of Currency, as the reference model has
// them: 1817 with USD means 1817 dollars.
type Payment struct {
	Transaction string `json:"transaction"`
	RequestID   string `json:"request_id"`
	Currency    string `json:"currency"` // ISO 4217, three capital letters
	Provider    string `json:"provider"`
	Amount      int64  `json:"amount"`
	// PaymentDT is when the payment was made, in seconds since 1970-01-01 UTC.
	PaymentDT    int64  `json:"payment_dt"`
	Bank         string `json:"bank"`
	DeliveryCost int64  `json:"delivery_cost"`
	GoodsTotal   int64  `json:"goods_total"`
	CustomFee    int64  `json:"custom_fee"`
}

// Item is one line of an order. Price and TotalPrice are in the payment's currency, Sale is a
// percentage.
type Item struct {
	ChrtID      int64  `json:"chrt_id"`
	TrackNumber string `json:"track_number"`
	Price       int64  `json:"price"`
	RID         string `json:"rid"`
	Name        string `json:"name"`
	Sale        int64  `json:"sale"`
	Size        string `json:"size"`
	TotalPrice  int64  `json:"total_price"`
	NmID        int64  `json:"nm_id"`
	Brand       string `json:"brand"`
	Status      int64  `json:"status"`
}

// JSON is the order on the wire: the model's fields in the model's order, no white space, no newline.
// The same order gives the same bytes, whoever encodes it and whenever: those of encoding/json that escapes
// nothing for HTML.
func (o *Order) JSON() []byte {
	b, err := json.Append(make([]byte, 0, jsonBytes), o, 0)
	if err != nil {
		panic(err) // strings and integers always encode
	}
	return b
}

// jsonBytes is room for the JSON of most orders.
const jsonBytes = 1536
