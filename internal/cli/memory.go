package cli

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How far the garbage collector lets memory grow: to roomyBytes in any case, and
// beyond that by roomyPercent of what is in use. A catalog is made of much that is
// soon garbage and much that stays. The default, twice of what is in use, collects
// often while that is little, and takes most memory when it is most.
const (
	roomyBytes   = 480 << 20
	roomyPercent = 60
)

// TuneMemory makes the garbage collector fit for a single large piece of work. It
// is for the start of a process. GOGC and GOMEMLIMIT, where either is set, stay
// in force instead.
func TuneMemory() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(roomyBytes)
	// A limit below what is in use would have the collector run all the time, and
	// so it follows what each collection leaves. A collection finalizes what nobody
	// refers to, which tells of it.
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var collected func(*[16]byte)
	collected = func(*[16]byte) {
		metrics.Read(live)
		debug.SetMemoryLimit(memoryLimit(int64(live[0].Value.Uint64())))
		runtime.SetFinalizer(new([16]byte), collected)
	}
	runtime.SetFinalizer(new([16]byte), collected)
}

// memoryLimit is for a process with so many bytes in use.
func memoryLimit(live int64) int64 {
	return max(roomyBytes, live+live*roomyPercent/100)
}
