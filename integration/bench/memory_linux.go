package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
)

// forgetPeak returns unused memory to the system, and resets the peak memory of the benchmark to its
// current memory. Without it, the peak memory of each process would include the memory that the
// benchmark needed for building images.
func forgetPeak() error {
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return fmt.Errorf("resetting the peak memory: %w", err)
	}
	return nil
}

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
