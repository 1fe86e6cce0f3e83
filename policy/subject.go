package policy

import (
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/clock"
)

// subject is a finding as rules, exceptions, statements and the baseline look at
// it: what they all need is worked out once.
type subject struct {
	*Finding
	platform *Platform
	ids      []string // the id and the aliases, in lower case
	purl     purl
	fixable  bool
	cvss     float64 // the highest base score
	scored   bool    // there is a base score at all
}

func newSubject(f *Finding, platform *Platform) *subject {
	s := &subject{
		Finding:  f,
		platform: platform,
		ids:      lowerIDs(f.ID, f.Aliases),
		purl:     splitPURL(f.Package.PURL),
		fixable:  f.FixState == FixAvailable || len(f.Fixes) > 0,
	}
	s.cvss, s.scored = highestScore(f.CVSS)
	return s
}

func lowerIDs(id string, aliases []string) []string {
	ids := make([]string, 0, 1+len(aliases))
	ids = append(ids, strings.ToLower(id))
	for _, alias := range aliases {
		ids = append(ids, strings.ToLower(alias))
	}
	return ids
}

// highestScore returns the highest base score, and whether there is one: a
// number that is no base score says nothing, so that it must count as unknown
// and not as low.
func highestScore(scores []CVSS) (highest float64, ok bool) {
	for _, c := range scores {
		if !(0 <= c.Score && c.Score <= maxCVSS) {
			return 0, false
		}
		highest = max(highest, c.Score)
	}
	return highest, len(scores) > 0
}

// fixed returns the day from which a grace counts: the earliest on which a
// repaired version could be had, else the one of publication. A date that is
// still to come is no such day, or whoever wrote it could put off the block for
// ever; undecided is the first instant at which such a date would count.
func (s *subject) fixed(now time.Time) (day, undecided time.Time) {
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
