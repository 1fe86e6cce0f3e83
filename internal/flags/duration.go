package flags

import (
	"time"

	"github.com/imagegate/imagegate/policy"
)

// Duration is the value of a flag in the syntax of policy files: "36h", "5d", "1w2d". The zero
// Duration means that the flag is not given.
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

// Get returns the duration, 0 if the flag is not given.
func (v *Duration) Get() time.Duration { return v.d }
