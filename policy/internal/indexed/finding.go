// Package indexed adds to a finding the values that rules, exceptions and VEX statements compare,
// so that they are computed once.
package indexed

import (
	"time"

	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
)

// MaxCVSS is the highest base score.
const MaxCVSS = 10

// Finding is a finding of a platform with the values that are compared.
type Finding struct {
	*evidence.Finding
	Platform *evidence.Platform
	// LowerIDs has the id first and then the aliases, in lower case.
	LowerIDs []string
	PURL     match.PURL
	// Fixable means that a fixed version exists, even if the evidence does not name it.
	Fixable bool
	// Score is the highest CVSS base score, if Scored is true. Otherwise the base score is unknown.
	Score  float64
	Scored bool
}

// New computes the compared values of a finding of a platform. It changes neither f nor platform.
func New(f *evidence.Finding, platform *evidence.Platform) *Finding {
	s := &Finding{
		Finding:  f,
		Platform: platform,
		LowerIDs: f.IDs(),
		PURL:     match.SplitPURL(f.Package.PURL),
		Fixable:  f.FixState == evidence.FixAvailable || len(f.Fixes) > 0,
	}
	s.Score, s.Scored = highestScore(f.CVSS)
	return s
}

// highestScore returns the highest CVSS base score, and whether the finding has one. If any value
// is not a valid base score, the score is unknown: it must not count as low.
func highestScore(scores []evidence.CVSS) (highest float64, ok bool) {
	for _, c := range scores {
		if !(0 <= c.Score && c.Score <= MaxCVSS) {
			return 0, false
		}
		highest = max(highest, c.Score)
	}
	return highest, len(scores) > 0
}

// Fixed returns the day when the grace period starts: the first day that a fixed version was
// available, else the day of publication. A date in the future does not count, because its author
// could otherwise delay the block indefinitely. undecided is the first instant when such a date
// will count.
func (s *Finding) Fixed(now time.Time) (day, undecided time.Time) {
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
