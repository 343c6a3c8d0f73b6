// Package sql is the database itself: the migrations of the log, the tables of a projection, the roles,
// and how a pool is opened.
//
// In: an administrator's URL, or the service's. Out: a database that is up to date, or a pool.
//
// Each table has one package that writes it; reading goes with the flow.
//
//	table                             written by    read by                       kept
//	inbox (and its partitions)        inbox         projector, query, verify      for good: append-only
//	copies                            inbox         verify                        for good: append-only
//	decisions                         inbox         projector, query, verify      for good: append-only
//	schemas                           inbox         projector, query, verify      for good: append-only
//	detached                          archive       inbox, projector, verify      for good, until it is restored
//	generations                       projector     query, verify                 rebuilt from the log
//	reasons, checkpoint, orders,      projector     query, verify                 rebuilt from the log
//	deliveries, payments, items,
//	duplicates, dead_letters,
//	dead_letter_places,
//	dead_letter_counts
//
// The last rows live in a schema of their own, a generation, which the search path chooses; the first
// five live in public. Inbox, decisions and schemas together are the log: they determine the rest. Three roles:
//
//	orderbox_owner    owns the database, inbox and generations; nobody logs in as it, Migrate works as it
//	orderbox          the service: adds to and reads the inbox, creates and writes generations
//	orderbox_reader   reads everything: query replicas, verify
//
// Concurrency: Migrate may run in several processes at once; one does the work.
//
// Not here: the statements that work on the tables stand in the packages that run them.
package sql
