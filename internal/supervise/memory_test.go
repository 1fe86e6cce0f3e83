package supervise

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestMemoryLimitFollowsWhatIsInUse checks that the memory limit rises with the memory in use, as
// for an image with more packages than expected. Otherwise the garbage collector would run all the
// time.
func TestMemoryLimitFollowsWhatIsInUse(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	percent := debug.SetGCPercent(100)
	limit := debug.SetMemoryLimit(-1)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
	TuneMemory(os.Getenv)
	if got := debug.SetMemoryLimit(-1); got != roomyBytes {
		t.Errorf("at first the limit is %d", got)
	}
	large := make([]byte, 2*roomyBytes)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		runtime.GC()
		if got := debug.SetMemoryLimit(-1); got > 2*roomyBytes {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("with %d bytes in use the limit is %d", len(large), got)
		}
	}
	runtime.KeepAlive(large)
}

// TestMemoryIsTheUsersToTune checks that TuneMemory does nothing if GOGC or GOMEMLIMIT is set,
// because the settings of the user take precedence.
func TestMemoryIsTheUsersToTune(t *testing.T) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOGC", "")
			t.Setenv("GOMEMLIMIT", "")
			t.Setenv(name, "100")
			before := debug.SetMemoryLimit(math.MaxInt64)
			t.Cleanup(func() { debug.SetMemoryLimit(before) })
			TuneMemory(os.Getenv)
			if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
				t.Errorf("the limit is %d", got)
			}
		})
	}
}

// TestMemoryLimitFollowsTheContainer checks the memory limit in containers of several sizes.
func TestMemoryLimitFollowsTheContainer(t *testing.T) {
	const mib = 1 << 20
	for name, tt := range map[string]struct{ live, container, want uint64 }{
		"no container":          {200 * mib, 0, 360 * mib},
		"little in use":         {10 * mib, 0, 200 * mib},
		"a large container":     {200 * mib, 4000 * mib, 360 * mib},
		"a small container":     {100 * mib, 200 * mib, 140 * mib},
		"more in use than fits": {200 * mib, 200 * mib, 220 * mib},
		"an unlimited cgroup":   {200 * mib, math.MaxInt64, 360 * mib},
	} {
		got := uint64(memoryLimit(tt.live, tt.container))
		if got > tt.want || got < tt.want-100 {
			t.Errorf("%s: %d, not %d", name, got, tt.want)
		}
	}
}
