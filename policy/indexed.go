package policy

import (
	"time"

	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
)

// indexedFinding is a finding with the values that rules, exceptions, statements and the baseline all
// need, computed once.
type indexedFinding struct {
	*evidence.Finding
	platform *evidence.Platform
	ids      []string // the id and the aliases, in lower case
	purl     match.PURL
	fixable  bool
	cvss     float64 // the highest base score
	scored   bool    // there is a valid base score
}

func newIndexedFinding(f *evidence.Finding, platform *evidence.Platform) *indexedFinding {
	s := &indexedFinding{
		Finding:  f,
		platform: platform,
		ids:      f.IDs(),
		purl:     match.SplitPURL(f.Package.PURL),
		fixable:  f.FixState == evidence.FixAvailable || len(f.Fixes) > 0,
	}
	s.cvss, s.scored = highestScore(f.CVSS)
	return s
}

// highestScore returns the highest base score, and whether there is one. If any value is not a
// valid base score, the score is unknown: it must not count as low.
func highestScore(scores []evidence.CVSS) (highest float64, ok bool) {
	for _, c := range scores {
		if !(0 <= c.Score && c.Score <= maxCVSS) {
			return 0, false
		}
		highest = max(highest, c.Score)
	}
	return highest, len(scores) > 0
}

// fixed returns the first day of the grace period: the first day that a fixed version was
// available, else the day of publication. A date in the future does not count, or its author could
// delay the block indefinitely. undecided is the first instant when such a date would count.
func (s *indexedFinding) fixed(now time.Time) (day, undecided time.Time) {
	consider := func(t time.Time) {
		switch counts := t.Add(-clock.Skew); {
		case t.IsZero():
		case counts.After(now):
			if undecided.IsZero() || counts.Before(undecided) {
				undecided = counts
			}
		case day.IsZero() || t.Before(day):
			day = t
		}
	}
	for _, fix := range s.Fixes {
		consider(fix.Available)
	}
	if day.IsZero() {
		consider(s.Published)
	}
	return day, undecided
}
