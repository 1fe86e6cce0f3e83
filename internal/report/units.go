package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/layout"
)

// age and left return the time since, and until, an instant, counted from the end of the run. They
// return "" if the run has no time.
func (t text) age(then time.Time) string {
	now := t.referenceTime()
	switch {
	case now.IsZero():
		return ""
	case then.After(now):
		return " (" + span(then.Sub(now)) + " in the future)"
	}
	return " (" + span(now.Sub(then)) + " ago)"
}

func (t text) timeLeft(then time.Time) string {
	now := t.referenceTime()
	switch {
	case now.IsZero():
		return ""
	case then.After(now):
		return ", in " + span(then.Sub(now))
	}
	return ", " + span(now.Sub(then)) + " ago"
}

const day = 24 * time.Hour

// span rounds down: 47 hours are one day.
func span(d time.Duration) string {
	switch {
	case d >= 24*time.Hour:
		return count(int(d/(24*time.Hour)), "day")
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
