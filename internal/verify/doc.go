// Package verify counts what came in against what became of it, and checks the laws that a running
// system can check of itself.
//
// In: the log, the generation of the projection that is in service, and the catalogue's privileges; by
// SQL alone, in one snapshot. Out: a balance, and a finding for each law that does not hold (Check); a
// line that is the same wherever the same messages were projected in the same order (Fingerprint); what would
// change if another generation took the place of the one in service (Compare); and what the log lacks of what a broker
// says that it has (CheckBroker), for nothing in a log that lost its end says so.
//
// Laws checked here, by their numbers in the design: 2 (the service may only add to the inbox and read
// it), 3 (one message, one fate), 4 (an order is whole, and a dead letter is resolved, discarded, counted and found
// at its places, as a replay would write them). The other laws are about time or about processes that die;
// tests check those. Compare with a generation built anew from the log is what checks law 4 in full.
//
// Fingerprint and Compare read every row there is, as a stream of fates: all that a generation has about
// one position, position by position. Two streams are read by turns through cursors of one transaction,
// so that both sides are of one moment, on a replica too, and need no memory that grows with them.
//
// Gaps in a broker's numbering are counted and shown, and break no law: what is missing was never
// acknowledged by us, so the broker dropped it (its limits, or a lost store) or somebody else reads with
// our durable; or it was lost with the newest part of a database that was restored from an older copy. A gap
// may also close again, while several replicas are at work and when the broker still has what it is asked for.
//
// Trusted: what a primary key, a unique constraint or a foreign key of one table forbids is not looked
// for again, save the identity of a message, on which the rest stands.
//
// Concurrency: everything may be called by anybody at any time, as the service's role or the reader's.
// Nothing is locked but against the dropping of the tables that are being read.
//
// Not here: any code of a stage, for a checker that shares code with what it checks shares its errors.
package verify
