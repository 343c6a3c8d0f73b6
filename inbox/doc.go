// Package inbox is the log: every message exactly as it came, in the order in which it was committed.
//
// In: messages from ingest, and what operators decide about messages. Out: the messages, to whoever reads
// from a position on.
//
// Laws kept here: 2 (verbatim and append-only). The payload is any bytes whatever; the service's role
// may insert and select, and the statements here do nothing else.
//
// Order. A reader goes from position to position and must never pass one that is yet to be committed. So
// an appender takes one advisory lock before its rows get their positions and holds it until they are
// committed: the order of positions is the order of commits. The lock is part of the statement that appends, so
// an appender that hangs before it has sent all of it does not hold it. Group commit makes that cheap, for there
// is one appender with a thousand rows rather than a thousand with one. Reading below the horizon of
// running transactions would do without the lock, but then any long transaction anywhere in the cluster
// stalls every reader.
//
// Identity. A delivery is (source, channel, sequence, stamp): a redelivery meets the unique key and
// changes nothing, while a broker that lost its store and counts from 1 again brings new messages.
//
// Copies. What one broker has can be copied to another, while producers move. A copy is stored under the identity of what it
// is a copy of, once, by whichever way it comes first; and noted in copies with its own identity, at a position
// of its own: inbox and copies, read in the order of positions, are what each broker counted.
//
// Decisions. A retry or an amendment is an entry of its own, with the source operator and a pointer to its
// original, and a decision that points to it; a discard or its reversal is a decision alone. They are
// written like messages: append-only, under the same lock, and readers are notified. What
// they come to is the projector's business, and nothing here depends on it.
//
// Concurrency: every method may be called from any number of goroutines and processes.
//
// Not here: what a message means (package projector), and acknowledging it (package ingest).
package inbox
