// Package faults gives tests a world of real servers in containers, and breaks it. Only _test files
// import it.
//
// In: a container engine with the images of package testservers, and the Go toolchain, which builds the
// service once for a test binary. Out: the URLs of the world as a test sees it, and faults on order.
//
//	      front: published on 127.0.0.1, for the test's publishers, lookups and SQL; never cut
//	   ┌──────────────┬────────────────┐
//	broker ──────► services ──────► database
//	    broker's link      database's link
//
// Each link is a network of its own without a way out, and what a service knows is the names on its two
// links. So a server that is cut off from the services is still there for the test, and packets to it
// vanish, as with a pulled cable: no connection is closed.
//
// The broker may be a cluster (Brokers): its nodes speak with one another over a link of their own, where they
// have other names, and each is struck alone. A node may be cut off from the other nodes and go on being seen by
// the services, or the other way round (From). Publishers come from the front and reach every node that runs.
//
// There may be both STAN and JetStream (Brokers and Streams): each has a link of its own, the services receive from both, and
// a relay, orderbox cutover, is on both links and copies from one into the other.
//
// The database may have a hot standby (Standby), which streams from it over a link of their own and is a database with the
// number 1 to whoever strikes. Services know both hosts; those with odd numbers read orders from the standby. The database
// can be replaced by it. The test's URLs lead to whichever is the primary.
//
// A service runs as the image of Orderbox does: the static binary alone, nobody in particular, nothing
// writable. It has no restart policy: that it is running after a fault is its own work, and Life tells
// whether it is the same process still.
//
// The servers keep what they confirmed: the broker syncs its file store, PostgreSQL runs with fsync, unless
// a test has no time for that (Unsynced).
// The ports on 127.0.0.1 stay the same for the life of a world, whatever is restarted.
//
// Concurrency: a World's methods may be called from any goroutine; faults of one target one after the
// other, healed before the next.
//
// Not here: what is published, looked up and checked (the tests).
package faults
