package main

import (
	"os"
	"syscall"
)

// peakMemory returns the peak memory in bytes of the process or of one of its finished children,
// whichever is largest. For a short process it can be the memory of this process, which it was
// forked from. Linux counts in kilobytes.
func peakMemory(state *os.ProcessState) int64 {
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return usage.Maxrss << 10
}
