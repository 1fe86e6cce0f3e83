// Package wording formats times, durations, numbers and names for messages.
package wording

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
)

// Joined returns a name and a version with a space between them. If one of them is empty, it
// returns the other.
func Joined(name, version string) string { return strings.TrimSpace(name + " " + version) }

// Time returns t in UTC as in RFC 3339.
func Time(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Duration returns d in days if it is a number of whole days, otherwise as time.Duration does.
func Duration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return d.String()
}

// Number formats n with at most six digits.
func Number(n float64) string { return strconv.FormatFloat(n, 'g', 6, 64) }

// Package returns the name of a package for messages.
func Package(p *evidence.Package) string {
	return cmp.Or(Joined(p.Name, p.Version), "a package without a name")
}

// Quote quotes text from the image, and shortens it if it is too long for a message.
func Quote(text string) string {
	const longest = 80
	if runes := []rune(text); len(runes) > longest {
		text = string(runes[:longest]) + "…"
	}
	return strconv.Quote(text)
}

// Clip returns s, or its first limit characters and an ellipsis.
func Clip(s string, limit int) string {
	n := 0
	for i := range s {
		if n == limit {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

// EPSS describes an EPSS by its score and percentile.
func EPSS(e *evidence.EPSS) string {
	if e == nil {
		return "EPSS unknown"
	}
	return "EPSS " + Number(e.Score) + " (percentile " + Number(e.Percentile) + ")"
}

// Fix describes the fix of a finding: the fixed versions, or the vendor's fix state.
func Fix(f *evidence.Finding) string {
	if len(f.Fixes) > 0 {
		versions := make([]string, len(f.Fixes))
		for i, fix := range f.Fixes {
			versions[i] = fix.Version
		}
		return "fixed in " + strings.Join(versions, ", ")
	}
	switch f.FixState {
	case evidence.FixAvailable:
		return "fixed in an unknown version"
	case evidence.FixNone:
		return "not fixed yet"
	case evidence.FixWont:
		return "its vendor will not fix it"
	}
	return "no known fix"
}
