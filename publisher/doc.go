// Package publisher puts messages on a STAN channel or into a JetStream stream, and makes up the orders and the rubbish for it.
//
// In: any sequence of payloads; or a seed, from which Orders and Messages make up a stream that is the
// same on every machine and on every day.
//
// Out: messages, each payload byte for byte, published at least once. A stream keeps what is published twice within ten
// minutes once, for each message has a name.
//
// Laws kept here: none of the service's own. Every generated message carries the verdict that it must
// get, so that a test can hold the service to law 3 (one message, one verdict).
//
// Concurrency. One call of Publish is two goroutines and the broker's callbacks:
//
//	feed ── pulls the sequence, waits for the rate
//	  │ chan (unbuffered)
//	  ▼
//	loop ── publishes, counts, publishes again, builds the session anew
//	  ▲ chan (Window): never full, for no more than that is unconfirmed
//	  │
//	the broker's acknowledgements, timeouts and lost sessions, one outcome for each publish
//
// The generators use no goroutine.
//
// Not here: what the service makes of a message (package projector), and where payloads come from other
// than the generators (cmd/publish).
package publisher
