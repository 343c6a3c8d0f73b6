package projector

// Reason says why a message is a dead letter. The catalogue below is the only place where reasons are
// spelt: lists, pages and metrics read them from the table reasons or from the dead letter.
type Reason string

const (
	// Malformed: the payload is not one strict JSON value.
	Malformed Reason = "malformed"
	// Invalid: it breaks the schema.
	Invalid Reason = "invalid"
	// Conflict: an earlier message made an order of the same order_uid with other content.
	Conflict Reason = "conflict"
	// Refused: it passed every judgement, and the database refused it all the same.
	Refused Reason = "refused"
)

// reasons is what each reason means in general, and what to do about it; the sentence of a dead letter
// says what is wrong with that one.
var reasons = []struct {
	code           Reason
	sentence, help string
}{
	{Malformed, "The message is not one strict JSON value.",
		"Strict JSON is one value in valid UTF-8, with no duplicate keys, no trailing data and bounded depth. Correct the sender."},
	{Invalid, "The message is JSON but no order: it breaks the schema.",
		"Each violation names its place. Correct the sender, or the schema when the sender is right."},
	{Conflict, "Another message made an order with this order_uid and other content first.",
		"The first one stands. Compare the two; when the second is right, the sender must give it an order_uid of its own."},
	{Refused, "The database refused an order that passed the schema.",
		"The schema allows what a column or a constraint does not. Align the two and replay."},
}
