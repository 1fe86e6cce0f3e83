package main

import (
	"os"
	"syscall"
)

// peakMemory is the most memory that a process, or one that it has waited for,
// had at a time. Linux counts kilobytes; that of a short process can be the
// memory of this one, from which it was forked.
func peakMemory(state *os.ProcessState) int64 {
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return usage.Maxrss << 10
}
