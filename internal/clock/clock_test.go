package clock

import (
	"testing"
	"time"
)

func TestTimeBeyondTheToleranceIsAhead(t *testing.T) {
	now := time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)
	for ahead, want := range map[time.Duration]bool{
		-time.Hour: false, 0: false, time.Minute: false, Skew - 1: false, Skew: false, Skew + 1: true, time.Hour: true,
	} {
		if got := IsAhead(now.Add(ahead), now); got != want {
			t.Errorf("%s ahead: %v, want %v", ahead, got, want)
		}
	}
}
