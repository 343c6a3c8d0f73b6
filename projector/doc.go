// Package projector turns the log into tables.
//
// In: the entries of the inbox, from the checkpoint on. Out: orders, deliveries, payments, items,
// duplicates, dead letters and the checkpoint, in the tables of one generation.
//
// Laws kept here: 3 (one message, one verdict), 4 (the same log and schema give the same rows: nothing
// here asks the clock or draws lots), 5 (blame.go decides between message and world), 6 (split.go).
//
// A judgement is pure: bytes and schema in, order or dead letter out (judge.go), so it runs on every core
// and ahead of the writing. Whether an order is new, a duplicate or a conflict depends on what was
// projected before, and is decided in the transaction that writes it (write.go).
//
// Exactly once. A batch's rows and the checkpoint change in one transaction, which starts from the
// checkpoint that this projector knows; whoever is not sure whether a commit went through, starts over
// by reading the checkpoint.
//
// Concurrency. One projector works at a time; the others stand by (lead.go).
//
//	            ┌─ no connection, or any error of the world: pause, begin anew ─┐
//	            ▼                                                               │
//	standby ── lock ──► open generation ──► project ── caught up ──► put in service, if it was not
//	                                          ▲                                 │
//	                                          └─────────── woken ◄──────────────┘
//
//	listen: wakes the reader when something was appended
//	reader: inbox.Read ─► judge on every core ─► channel of one batch ─► writer
//	writer: the leader's own connection
//
// Not here: receiving messages (ingest), storing them (inbox), answering (query).
package projector
