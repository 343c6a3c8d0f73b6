// Package chaos runs Orderbox while faults come at random, and checks that nothing was lost and nothing
// doubled. All of it is a test:
//
//	go test ./internal/chaos -chaos.messages 1000000 -chaos.faults 100 -chaos.seed 7 -timeout 3h
//
// In: a seed. It decides every message, every fault, and at which message each fault begins; what is
// under way at that moment differs from run to run. A seed that is not given is chosen and printed.
// Out: a verdict, and a report on request (-chaos.report FILE).
//
// The world is that of package faults: broker, database and two replicas of the service. Publishers send orders,
// duplicates, conflicts and rubbish, at least once. Clients look orders up at each replica all the while.
//
// There are five tests, each with faults of its own (plan_test.go):
//
//   - TestChaos: all are killed, paused, cut off, restarted, and the broker's store is wiped.
//   - TestBrokerCluster: the broker is a cluster of three, of which the one that leads is struck, as they
//     themselves say when it is, and others.
//   - TestStreamCluster: the same, and the broker is JetStream, with three replicas of the stream.
//   - TestCutOver: publishers move from STAN to a cluster of JetStream, one after the other, while a relay copies; the relay is
//     struck, whoever leads the stream, and the replicas.
//   - TestLeadingReplica: whichever replica projects is struck.
//
// # What is checked
//
// The ledger holds what was published, and the checker judges the outcome by that alone; it shares no code
// with the stages.
//
//   - Each payload that was published n times, and once more r times because no confirmation came, is in the
//     log byte for byte n to n+r times, and nothing else is there.
//   - The broker itself says how many messages it stored. Each of its sequences, in each of its stores, is
//     in the log exactly once.
//   - Where messages are copied from one broker to the other, the log knows each copy, once, and for what it is: each sequence
//     of the second broker is that of an entry or of a copy, and each message of the first was copied.
//   - Each entry has exactly one fate, the one that follows from the order of the log: the first entry for an
//     order_uid is the order, later ones are duplicates when they say the same and conflicts when not, rubbish
//     is refused for its reason; each fate points at the entry that came first.
//   - Each order is served by the replicas as exactly the bytes that the first entry says; what was refused
//     is not found.
//   - The sums of the rows, of the checkpoint and of what each replica tells are the same.
//   - Whatever a replica has served, it never again denies and never serves otherwise. A replica that no fault
//     has struck answers every lookup, whatever became of broker and database.
//   - After each fault everything is ready again and goes on by itself. Where a leader was struck, another one led
//     before it was healed, and a replica that was replaced stands by.
//
// A lone broker's wiped store legally loses what the broker has confirmed and no one has received. So before a wipe the
// faults under way end, publishers pause, and the log catches up with what the broker says it stored.
//
// Where the database fails over to a standby, it is the same that is checked (failover_test.go). With asynchronous replication
// the newest orders are lost with the primary: replicas may deny them until the broker was asked again, and then no more.
//
// # Concurrency
//
//	publishers ──► gate (open up to the next fault) ──► STAN
//	conductor  ──► opens the gate, strikes; each fault ends in a goroutine of its own, two at a time
//	clients    ──► each replica's HTTP, at a steady pace
//	poller     ──► the balance, so that publishers wait when the service is far behind
//
// All of them share the ledger, which has a lock. The checker runs alone, when all is over.
//
// Not here: how a fault is made (package faults), single faults at chosen moments (its tests), and what
// a running system can check of itself (package verify, which the run asks as well).
package chaos
