// Package projector turns the log into tables.
//
// In: the entries of the inbox, from the checkpoint on, the schemas and the decisions. Out: orders,
// deliveries, payments, items, duplicates, dead letters with their counts, and the checkpoint, in the tables of a
// generation:
// the one in service, and the next one while a replay is under way.
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
// Concurrency. One projector works at a time for each of the two generations; others stand by, and end one
// that hangs (lead.go).
//
//	                     ┌─ no connection, or any error of the world: pause, begin anew ─┐
//	                     ▼                                                               │
//	serve:  standby ── lock ──► deploy ──► project into the generation in service ◄── woken
//	                              ▲                            │
//	                              └──── it was replaced ◄──────┘
//	Build:  standby ── lock ──► wait for one that is ordered ──► project ── caught up ──► takeOver
//
//	listen: wakes the reader of the generation in service when something was appended
//	reader: inbox.Read ─► judge on its cores ─► channel of one batch ─► writer
//	writer: the leader's own connection; before each batch it makes sure that the generation is in the
//	        state that it knows (guard), and so waits for a change over, or makes it wait
//
// Not here: receiving messages (ingest), storing them (inbox), answering (query).
package projector
