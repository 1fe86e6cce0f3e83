package supervise

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// The garbage collector runs when the heap reaches roomyBytes, or the live heap plus roomyPercent
// of it if that is more. Cataloging allocates much short-lived and much long-lived data. Go's
// default of 100 percent would collect often while the heap is small, and use much more memory at
// the peak.
const (
	roomyBytes   = 480 << 20
	roomyPercent = 60
)

// TuneMemory configures the garbage collector for one large task. Call it at the start of a process.
// It does nothing if getenv has a value for GOGC or GOMEMLIMIT.
func TuneMemory(getenv func(string) string) {
	if getenv("GOGC") != "" || getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(roomyBytes)
	// If the live heap grew above the limit, the garbage collector would run all the time. So the
	// limit is updated after each collection, in the finalizer of an unreachable object.
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var collected func(*[16]byte)
	collected = func(*[16]byte) {
		metrics.Read(live)
		debug.SetMemoryLimit(memoryLimit(int64(live[0].Value.Uint64())))
		runtime.SetFinalizer(new([16]byte), collected)
	}
	runtime.SetFinalizer(new([16]byte), collected)
}

// memoryLimit returns the memory limit for a live heap of the given size. Both are in bytes.
func memoryLimit(live int64) int64 {
	return max(roomyBytes, live+live*roomyPercent/100)
}
