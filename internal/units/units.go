// Package units formats times, durations, counts and sizes for people.
package units

import (
	"fmt"
	"strings"
	"time"
)

// Distance returns how far an instant is from now: "in 9 days", "2 hours ago", "just now". From 24
// hours on, it counts calendar days in UTC, so that it agrees with the dates next to it: from any
// time on November 30, December 9 is "in 9 days". Hours and minutes are rounded down.
func Distance(now, then time.Time) string {
	left := then.Sub(now)
	switch {
	case left >= time.Minute:
		return "in " + Between(now, then)
	case left > 0:
		return "in less than a minute"
	case left > -time.Minute:
		return "just now"
	}
	return Between(then, now) + " ago"
}

const day = 24 * time.Hour

// Between returns the time from one instant to a later one. A day or more is counted in calendar
// days.
func Between(from, to time.Time) string {
	d := to.Sub(from)
	if d >= day {
		d = to.UTC().Truncate(day).Sub(from.UTC().Truncate(day))
	}
	return Span(d)
}

// Span formats a duration in its largest unit, rounded down: 47 hours are "1 day".
func Span(d time.Duration) string {
	switch {
	case d >= day:
		return Count(int(d/day), "day")
	case d >= time.Hour:
		return Count(int(d/time.Hour), "hour")
	}
	return Count(int(d/time.Minute), "minute")
}

// Instant formats a time in UTC, to the minute.
func Instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// Count returns a number with a noun, in the plural unless n is 1.
func Count(n int, noun string) string {
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

// Size formats a number of bytes in decimal units, as registries do.
func Size(bytes int64) string {
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
