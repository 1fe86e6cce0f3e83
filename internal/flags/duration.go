package flags

import (
	"errors"
	"time"

	"github.com/imagegate/imagegate/policy"
)

// Duration is the value of a flag in the duration syntax of policy files: "36h", "5d", "1w2d". The
// zero Duration means that the flag is not given.
type Duration struct{ d time.Duration }

// Set parses a duration, which must be more than zero.
func (v *Duration) Set(s string) (err error) {
	v.d, err = policy.ParseDuration(s)
	return err
}

// String returns the duration in Go's syntax. It is empty if the flag is not given.
func (v *Duration) String() string {
	if v == nil || v.d == 0 {
		return ""
	}
	return v.d.String()
}

// Get returns the duration, or 0 if the flag is not given.
func (v *Duration) Get() time.Duration { return v.d }

// Instant parses a point in time: an RFC 3339 time, a date, which means 00:00 UTC of that day, or a
// duration after now.
func Instant(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	var after Duration
	if after.Set(s) == nil {
		return now.Add(after.Get()).UTC().Truncate(time.Second), nil
	}
	return time.Time{}, errors.New("must be a date such as 2026-12-31, a time such as 2026-12-31T12:00:00Z, or a duration from now such as 7d")
}
