//go:build unix

package main

import (
	"math"
	"syscall"
)

// maxOpenFiles is how many files this process may have open; Go has raised the limit to what it may be.
func maxOpenFiles() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || uint64(limit.Cur) > math.MaxInt32 {
		return math.MaxInt
	}
	return int(limit.Cur)
}
