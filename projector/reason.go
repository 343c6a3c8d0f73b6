package projector

// reason says why a message is a dead letter. The catalogue below is the only place where reasons are
// spelt: lists, pages and metrics read them from the table reasons or from the dead letter.
type reason string

const (
	// reasonMalformed: the payload is not one strict JSON value.
	reasonMalformed reason = "malformed"
	// reasonInvalid: it breaks the schema.
	reasonInvalid reason = "invalid"
	// reasonConflict: an earlier message made an order of the same order_uid with other content.
	reasonConflict reason = "conflict"
	// reasonRefused: it passed every judgement, and the database refused it all the same.
	reasonRefused reason = "refused"
	// reasonUnjudged: the program panicked over it, so nobody knows what it is.
	reasonUnjudged reason = "unjudged"
)

// reasons is what each reason means in general, and what to do about it; the sentence of a dead letter
// says what is wrong with that one.
var reasons = []struct {
	code           reason
	sentence, help string
}{
	{reasonMalformed, "The message is not one strict JSON value.",
		"Strict JSON is one value in valid UTF-8, with no duplicate keys, no trailing data and bounded depth. Correct the sender."},
	{reasonInvalid, "The message is JSON but no order: it breaks the schema.",
		"Each violation names its place. Correct the sender, or the schema when the sender is right."},
	{reasonConflict, "Another message made an order with this order_uid and other content first.",
		"The first one stands. Compare the two; when the second is right, the sender must give it an order_uid of its own."},
	{reasonRefused, "The database refused an order that passed the schema.",
		"The schema allows what a column or a constraint does not. Align the two and replay."},
	{reasonUnjudged, "This program failed while it judged the message.",
		"The fault is the program's, and its log says where. Report it, and retry the message with a version in which it is mended."},
}
