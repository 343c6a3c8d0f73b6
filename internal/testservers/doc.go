// Package testservers gives tests a real PostgreSQL and a real STAN server. Only _test files import it.
//
//	func TestMain(m *testing.M) { testservers.Main(m) }
//
// In: nothing; the environment may choose (see below). Out: URLs.
//
// One server of each kind serves a whole test binary, started when the first test asks for it, and
// tests keep apart by what they use of it: each its own database, cloned from one that was migrated
// once (Database), each its own channel (Broker, Channel). A test that wants to see a server fail has
// one to itself (OwnPostgres, OwnBroker, OwnCluster); those always run on this machine.
//
// The shared servers run in containers where an engine has the images at hand, for nothing is pulled,
// and else on this machine (package local). With -short, tests that have servers of their own skip where the shared ones
// are in containers:
//
//	ORDERBOX_TEST_SERVERS    containers or local; empty chooses. What is asked for and cannot be had
//	                         fails the tests, so that neither way goes untested without notice
//	ORDERBOX_POSTGRES_IMAGE  postgres:15
//	ORDERBOX_STAN_IMAGE      nats-streaming:0.25.6
//
// Concurrency: everything may be called from parallel tests. Main starts nothing; the first caller of
// Database or Broker starts what it needs while the others wait, and Main stops it after the last test.
//
// Not here: how the servers of this machine run (package local).
package testservers
