// Package query keeps the orders in memory as the bytes that are served, all or with a limit the newest, and answers over HTTP.
//
// In: the tables of the current generation, read by position; requests.
// Out: orders, the latest orders, dead letters, the balance and the state of health, as JSON; the pages.
//
// Laws kept here: 7 (booting is following: the cache is filled at boot by the code that keeps it up to
// date, and an order's response is the same bytes before and after a restart), and of 5 that what is
// wrong with the world never stops the lookups.
//
// Concurrency. Two goroutines belong to Run, and as many again that tell subscribers what is new; requests have
// net/http's.
//
//	listener ─ wake (one pending) ─► follower ─ chunks ─► cache ─ atomic pointer ─► requests
//	   ▲                                │
//	NOTIFY, or the poll interval        └─ small chunks, when there are no others ─► next cache
//
// While a replay builds another generation, its orders are read into a second cache, behind whatever is new
// in the generation in service. When the projector switches, the second has nearly everything; the first
// answers until it has the rest, and is dropped. A cache holds one generation only, and a request asks one
// cache. A generation that this replica did not see being built is read after the switch in the same way.
//
// What the caches hold is compared with the database each time it is read: one that went back, to a backup
// or to a replica that lagged, is read again from the beginning, while the orders that were known answer.
//
// Orders may be read from a standby. Then the primary announces what is new and says how far it is, and the follower looks
// at the standby soon and often after each announcement, for the standby shows it a moment later. Without the primary it
// looks every poll interval, and nobody knows how far the standby is behind.
//
// A cache has one writer, the follower, which holds its lock for one order at a time, be it added or, with a limit, dropped. An order
// that is not held is asked for in the database, and so is a list that reaches beyond what is held: by maxFetches requests at a
// time, of maxFetched that wait or are being answered, each for at most fetchTimeout. Besides, only dead letters, searches
// by track number, the balance and readiness ask the database while somebody waits, for at most queryTimeout.
//
// Each subscriber to the events is a request that waits for the feed's latest event of each kind. There are at most
// maxSubscribers, none has a queue, and one who does not take an event within eventTimeout is dropped.
//
// Not here: what a message means (package projector), the pages' templates (package static), and the
// balance itself, which Options.Stats supplies.
package query
