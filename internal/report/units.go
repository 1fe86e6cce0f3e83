package report

import (
	"time"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/units"
)

// age returns the time since an instant, and timeLeft the time until it, counted from the end of
// the run. Both return "" if the run has no time.
func (t text) age(then time.Time) string {
	now := t.referenceTime()
	switch {
	case now.IsZero():
		return ""
	case then.Sub(now) >= time.Minute:
		return " (" + units.Between(now, then) + " in the future)"
	case then.After(now):
		return " (just now)"
	}
	return " (" + units.Distance(now, then) + ")"
}

func (t text) timeLeft(then time.Time) string {
	if now := t.referenceTime(); !now.IsZero() {
		return ", " + units.Distance(now, then)
	}
	return ""
}

// Sanitize makes external text safe to print on one line, see [layout.Sanitize].
func Sanitize(s string) string { return layout.Sanitize(s) }

// short sanitizes a name, path or version for use inside a line.
func short(s string) string { return layout.Name(s) }
