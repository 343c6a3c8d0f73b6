// Package orderbox is the way of an order from a NATS Streaming channel to an answer over HTTP.
//
// One message, step by step, and the package that takes the step:
//
//	publisher   publishes it on the channel (a program of its own, cmd/publish)
//	ingest      receives it, hands it to the inbox, and acknowledges it once it is committed there
//	inbox       the log: every message byte for byte, append-only, read in commit order
//	projector   judges it (strict JSON, JSON Schema, meaning) and writes an order or a dead letter
//	query       keeps every order in memory as the bytes that are served, and answers over HTTP
//	static      the pages' templates and assets
//	sql         the database itself: migrations, roles, the projection's tables
//
// Data flows one way, in this order, and the stages meet only in tables: any of them can run in a
// process of its own. cmd/orderbox wires them. The package at the root holds what the publisher, the
// projector and query have in common: the order as the reference model writes it.
package orderbox
