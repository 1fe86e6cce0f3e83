package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/layout"
)

// age and timeLeft return the time since, and until, an instant, counted from the end of the run.
// They return "" if the run has no time.
func (t text) age(then time.Time) string {
	now := t.referenceTime()
	switch {
	case now.IsZero():
		return ""
	case then.Sub(now) >= time.Minute:
		return " (" + between(now, then) + " in the future)"
	case then.After(now):
		return " (just now)"
	}
	return " (" + Distance(now, then) + ")"
}

func (t text) timeLeft(then time.Time) string {
	if now := t.referenceTime(); !now.IsZero() {
		return ", " + Distance(now, then)
	}
	return ""
}

// Distance says how far an instant is from now: "in 9 days", "2 hours ago", "just now". From 24 hours
// on it counts calendar days in UTC, so that it agrees with the dates next to it: from any time on
// November 30, December 9 is "in 9 days". Hours and minutes are rounded down.
func Distance(now, then time.Time) string {
	left := then.Sub(now)
	switch {
	case left >= time.Minute:
		return "in " + between(now, then)
	case left > 0:
		return "in less than a minute"
	case left > -time.Minute:
		return "just now"
	}
	return between(then, now) + " ago"
}

const day = 24 * time.Hour

// between returns the time from one instant to a later one, in calendar days if it is a day or more.
func between(from, to time.Time) string {
	d := to.Sub(from)
	if d >= day {
		d = to.UTC().Truncate(day).Sub(from.UTC().Truncate(day))
	}
	return span(d)
}

// span rounds down: 47 hours are one day.
func span(d time.Duration) string {
	switch {
	case d >= day:
		return count(int(d/day), "day")
	case d >= time.Hour:
		return count(int(d/time.Hour), "hour")
	}
	return count(int(d/time.Minute), "minute")
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func count(n int, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "ch"):
		noun += "es"
	case strings.HasSuffix(noun, "ity"):
		noun = strings.TrimSuffix(noun, "y") + "ies"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// size formats bytes in decimal units, as registries do.
func size(bytes int64) string {
	const unit = 1000
	if bytes < unit {
		return fmt.Sprintf("%d B", bytes)
	}
	value, prefix := float64(bytes)/unit, 0
	for value >= unit && prefix < 4 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTP"[prefix])
}

// Sanitize makes external text safe to print on one line, see [layout.Sanitize].
func Sanitize(s string) string { return layout.Sanitize(s) }

// short sanitizes a name, path or version for use inside a line.
func short(s string) string { return layout.Name(s) }
