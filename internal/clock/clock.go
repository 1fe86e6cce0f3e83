// Package clock defines how far the clocks of other machines may be ahead. It does not read a
// clock: callers pass the current time. Sleep waits until a time has passed or a context ends.
package clock

import (
	"context"
	"time"
)

// Skew is the accepted difference between the clock of another machine and this machine's clock. A
// time up to Skew in the future is accepted, a later time is not. This applies to every time that
// another machine wrote: databases and their data, images, VEX statements, signed decisions and
// overrides.
//
// Machines that synchronize their clocks differ by seconds. Ten minutes also cover a virtual
// machine that has just resumed. The tolerance has a price: anyone who can set the date of a
// database or a decision can make it look younger by Skew. So Skew is small compared with one hour,
// the shortest useful maximum age.
const Skew = 10 * time.Minute

// IsAhead reports whether the time t, written by another machine, is more than Skew in the future.
func IsAhead(t, now time.Time) bool { return t.After(now.Add(Skew)) }

// Sleep waits for d. If ctx ends earlier, Sleep returns the cause of its end.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
