package main

import (
	"os"
	"syscall"
)

// peakMemory returns the peak memory in bytes of the process or of its largest finished child. The
// process is forked from the benchmark, so the value is never below the memory of the benchmark
// itself. Linux reports the value in kilobytes.
func peakMemory(state *os.ProcessState) int64 {
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return usage.Maxrss << 10
}
