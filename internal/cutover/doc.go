// Package cutover moves a channel from NATS Streaming to JetStream while producers move, and proves that nothing was lost.
//
// In: a STAN channel, a JetStream stream, and for the proof the log's database. Out: copies of the channel's messages in
// the stream (Relay), and a report (Prove).
//
// The relay copies the whole channel into the stream, in order, the history first and then what still comes. The order
// in the stream is the order there is: what a producer publishes to the stream once the relay was done with what it had
// published to STAN comes behind it. So nothing need be published twice.
//
// Laws kept here: each STAN message is copied once and in order, whatever dies in between. The relay's memory is the
// stream itself: its last copy says how far it came (stream.Origin). A batch is taken by the server as a whole or not at
// all, and only behind the copy that the relay takes for the last; so a relay that comes back, or two at once, can
// neither double nor reorder nor leave a hole. After any error it begins again from the last copy there is.
//
//	STAN ─► subscription from the last copy on (plain: moves nothing of anybody's)
//	             │  bounded by what is not acknowledged
//	             ▼
//	        a batch of what is there, a lone message at once ─► stream, expecting the last copy ─► acknowledge
//
// Concurrency: a Relay runs once at a time; STAN's callback only fills a channel. Two programs with the same client id:
// the second waits until the first is gone.
//
// Not here: putting messages into the log (package ingest), and any code of a stage: what is proven here is theirs.
package cutover
