// Package archive takes months of the log into files, and brings them back.
//
// In: a connection as the owner of the log, and a directory. Out: a file for each month, or the month in the log again.
//
// The file. Lines of JSON, compressed by zstd: the first says what it is, the last how many messages are between, from which
// position to which, and the SHA-256 of all lines before it. A message is a line with every column of the inbox; its payload is
// a text where it is valid UTF-8 (payload), and base64 where it is not (payload_base64). `zstdcat FILE | jq` reads it without
// this program.
//
// Archiving. The file is written beside its name, synced, read back and compared with the table row by row, and only then
// given its name. One transaction detaches the month, compares what was in it with the file's last line, notes the
// file's name and hash, and drops the table. So there is nothing half done: until that commits the month is in the
// log, and from then on in the file. Whatever was begun before is begun again, or used when it is what the table holds.
//
// Restoring is one transaction too: the table is made, filled, compared with the file's last line and with what was noted, and
// attached with the positions that its messages had.
//
// Memory is bounded by the largest message: rows are read as they come, and written as they are read.
//
// Concurrency: none; of several processes on one database one does the work, the others are refused.
//
// Not here: what detaching and attaching mean to the log (sql/migrations), and choosing months (cmd/orderbox).
package archive
