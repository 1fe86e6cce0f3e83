package supervise

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// The garbage collector runs when the heap reaches roomyBytes, or the live heap plus roomyPercent of it
// if that is more. Cataloging allocates much short-lived and much long-lived data. Go's default would
// collect often while the heap is small.
//
// In a container with a memory limit, the heap gets at most containerPercent of it, because the program
// and the files that it reads also need memory. tightPercent of the live heap is always free. Otherwise
// the garbage collector would run all the time.
const (
	roomyBytes       = 200 << 20
	roomyPercent     = 80
	containerPercent = 70
	tightPercent     = 10
)

// TuneMemory configures the garbage collector for one large task. Call it at the start of a process.
// It does nothing if getenv has a value for GOGC or GOMEMLIMIT.
func TuneMemory(getenv func(string) string) {
	if getenv("GOGC") != "" || getenv("GOMEMLIMIT") != "" {
		return
	}
	container, err := memlimit.FromCgroup()
	if err != nil {
		container = 0 // no limit, or no container
	}
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit(0, container))
	// The limit is updated after each collection, in the finalizer of an unreachable object.
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var collected func(*[16]byte)
	collected = func(*[16]byte) {
		metrics.Read(live)
		debug.SetMemoryLimit(memoryLimit(live[0].Value.Uint64(), container))
		runtime.SetFinalizer(new([16]byte), collected)
	}
	runtime.SetFinalizer(new([16]byte), collected)
}

// memoryLimit returns the memory limit for a live heap, in a container with a memory limit. container is
// 0 if there is none. All values are in bytes.
func memoryLimit(live, container uint64) int64 {
	limit := max(roomyBytes, live+live*roomyPercent/100)
	if container > 0 {
		limit = min(limit, max(container/100*containerPercent, live+live*tightPercent/100))
	}
	return int64(limit)
}
