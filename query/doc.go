// Package query keeps every order in memory as the bytes that are served, and answers over HTTP.
//
// In: the tables of the current generation, read by position; requests.
// Out: orders, the latest orders, dead letters, the balance and the state of health, as JSON; the pages.
//
// Laws kept here: 7 (booting is following: the cache is filled at boot by the code that keeps it up to
// date, and an order's response is the same bytes before and after a restart), and of 5 that what is
// wrong with the world never stops the lookups.
//
// Concurrency. Two goroutines belong to Run; requests have net/http's.
//
//	listener ─ wake (one pending) ─► follower ─ chunks ─► cache ─ atomic pointer ─► requests
//	   ▲                                │
//	NOTIFY, or the poll interval        └─ another generation: a second cache is filled beside the
//	                                       first, which answers until the second has caught up
//
// A cache has one writer, the follower, which holds its lock for one order at a time. Only dead letters,
// the balance and readiness ask the database while somebody waits, for at most queryTimeout.
//
// Not here: what a message means (package projector), the pages' templates (package static), and the
// balance itself, which Options.Stats supplies.
package query
