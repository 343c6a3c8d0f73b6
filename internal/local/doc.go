// Package local runs PostgreSQL and a NATS Streaming (STAN) server on this machine, for `orderbox up`
// and for tests.
//
// In: a directory for each server's state, and a port or none.
// Out: a server on 127.0.0.1 and the URL to reach it by.
//
// Laws kept here: what a server has confirmed survives kill -9 of this process, and the next start in
// the same directory goes on with it. A start never destroys state: what it throws away is the remains
// of an interrupted initialisation, and bytes at the end of a STAN file that were never confirmed.
//
//	                     ┌─ initdb (once) ─► data.init ─ rename ─► data
//	StartPostgres ─► Dir ┤
//	                     └─ postgres, our child: log in postgres.log, TCP on 127.0.0.1
//	StartSTAN ─────► Dir ─── cut torn tails ─► server inside this process
//
// Concurrency: two goroutines per PostgreSQL, one bound to its OS thread, which starts the process and waits
// for it, and one that then closes Done; the STAN server's goroutines end with Stop. Nothing here guards
// against two processes that use one directory at the same time: `up` does, which takes Lock first.
//
// Not here: roles, databases and tables (package sql), and sessions with the broker (ingest, publisher).
package local
