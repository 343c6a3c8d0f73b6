package main

import (
	"log/slog"
	"math"
	"net"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"golang.org/x/net/netutil"
)

// sparedFiles are the open files that HTTP leaves to the rest of the process: connections to the database and
// the broker above all, which must be made again when they are lost.
const sparedFiles = 128

// limitConnections bounds the HTTP connections at a time, idle ones included, to what was asked for and to
// what the system lets this process open. Others wait until one ends.
func limitConnections(listener net.Listener, most int, log *slog.Logger) net.Listener {
	if files := maxOpenFiles(); files < math.MaxInt && most > files-sparedFiles {
		most = files - sparedFiles
		log.Warn("fewer HTTP connections than asked for, as the system permits few open files", "max_connections", most, "open_files", files)
	}
	return netutil.LimitListener(listener, max(1, most))
}

// heedMemoryLimit makes the garbage collector work harder as the process gets near the memory limit of its
// container, rather than have it killed there. GOMEMLIMIT beats it.
func heedMemoryLimit(log *slog.Logger) {
	limit, err := memlimit.Set() // to nine tenths: the rest is for what the collector does not count
	switch {
	case err != nil:
		log.Debug("no memory limit is known", "error", err)
	case limit < math.MaxInt64:
		log.Info("memory limit heeded", "bytes", limit)
	}
}
