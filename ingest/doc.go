// Package ingest moves messages from a STAN channel or a JetStream stream into the inbox.
//
// In: one durable queue subscription of STAN's with manual acknowledgement, or one durable pull consumer of
// JetStream's with explicit acknowledgement. Replicas share it and so the load.
//
// Out: rows appended to the inbox, in batches.
//
// Laws kept here: 1 (acknowledge after commit: the one call of Ack stands after the one call of Append).
//
// Concurrency. Three goroutines and what the session receives on; while one batch commits the next one gathers, so a
// lone message waits for nobody and a flood shares commits. Small batches begin some milliseconds apart.
//
//	session ── connects, subscribes, waits until the session is lost, builds it again, for ever
//	   │          │ STAN's callback: never blocks, for behind it is a buffer without a bound;
//	   │          │ or the goroutine that pulls from a stream, and waits for room
//	   audit ─────┤ what the broker has and the log lacks, by a subscription of its own
//	              ▼
//	            hand ── received and not yet acknowledged; bounded in messages and bytes
//	              ▼
//	commit  ── take a batch ─► inbox.Append, until it works ─► Ack each ─► out of the hand
//
// What the database does not take at once, be it slow or short of memory, is committed in portions.
//
// What STAN delivers and does not fit the hand is dropped unacknowledged. When the hand is empty again the session is closed and
// built anew: the broker then delivers at once what was dropped, and not only after AckWait; and no more is in
// flight from then on than fits. What is delivered again while it is still in the hand takes the place of its first
// delivery, so that the acknowledgement goes to the living subscription.
//
// A lost session. stan.go reconnects and resubscribes nothing by itself, and notices silence only by its
// pings; so they are set to seconds, and on loss the whole session is built anew. The client id stays
// the same: the broker then pings the old session, finds it dead and hands over all that it had not
// acknowledged at once. The durable belongs to the queue group and survives; one that has vanished with
// the broker's store is made anew from the first message there is.
//
// The broker's memory is not trusted: see auditor.
//
// JetStream does not notice that a client died, and delivers what that one had in hand only after AckWait, when newer
// messages have long passed it. So a session begins with what was delivered to anybody and is not in the log: replicas
// that share a stream fetch twice now and then what another one has in hand, and the log keeps it once. A stream that
// was deleted and made again is another channel, whose messages are new.
//
// Stopping: take nothing more, commit and acknowledge what is in the hand, then close. Never
// unsubscribe: that deletes the durable, and with it the memory of what comes meanwhile.
//
// Not here: what a message means (package projector).
package ingest
