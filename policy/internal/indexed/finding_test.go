package indexed

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/policy/evidence"
)

var now = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// TestInvalidScoreIsNotLow checks that the score of a finding is unknown if any of its base scores
// is invalid.
func TestInvalidScoreIsNotLow(t *testing.T) {
	for _, test := range []struct {
		scores []float64
		want   float64
		scored bool
	}{
		{nil, 0, false}, {[]float64{0}, 0, true}, {[]float64{9.8, 5}, 9.8, true}, {[]float64{10}, 10, true},
		{[]float64{5, 10.1}, 0, false}, {[]float64{-1}, 0, false}, {[]float64{math.NaN()}, 0, false},
	} {
		f := evidence.Finding{}
		for _, s := range test.scores {
			f.CVSS = append(f.CVSS, evidence.CVSS{Score: s})
		}
		if got := New(&f, &evidence.Platform{}); got.Score != test.want || got.Scored != test.scored {
			t.Errorf("%v: %v, %v", test.scores, got.Score, got.Scored)
		}
	}
}

func TestValuesOfAFinding(t *testing.T) {
	f := evidence.Finding{ID: "GHSA-X", Aliases: []string{"CVE-1"}, Package: evidence.Package{PURL: "pkg:npm/a@1"}}
	got := New(&f, &evidence.Platform{})
	if !slices.Equal(got.LowerIDs, []string{"ghsa-x", "cve-1"}) || got.PURL.Type() != "npm" || got.Fixable {
		t.Errorf("%+v", got)
	}
	f.Fixes = []evidence.Fix{{Version: "2"}}
	if !New(&f, &evidence.Platform{}).Fixable || !New(&evidence.Finding{FixState: evidence.FixAvailable}, &evidence.Platform{}).Fixable {
		t.Error("a fixed finding is not fixable")
	}
}

// TestFutureDateStartsNoGracePeriod checks that a date starts a grace period only when it is no
// longer in the future, and that the date of the first fix takes precedence over the date of
// publication.
func TestFutureDateStartsNoGracePeriod(t *testing.T) {
	fix := func(t time.Time) evidence.Fix { return evidence.Fix{Version: "2", Available: t} }
	past, future := now.Add(-time.Hour), now.Add(time.Hour)
	for name, test := range map[string]struct {
		f              evidence.Finding
		day, undecided time.Time
	}{
		"no date":           {evidence.Finding{}, time.Time{}, time.Time{}},
		"published":         {evidence.Finding{Published: past}, past, time.Time{}},
		"first fix":         {evidence.Finding{Published: past, Fixes: []evidence.Fix{fix(now), fix(past.Add(1)), fix(time.Time{})}}, past.Add(1), time.Time{}},
		"fix in the future": {evidence.Finding{Published: past, Fixes: []evidence.Fix{fix(future)}}, past, future.Add(-clock.Skew)},
		"only the future":   {evidence.Finding{Published: future}, time.Time{}, future.Add(-clock.Skew)},
	} {
		day, undecided := New(&test.f, &evidence.Platform{}).Fixed(now)
		if !day.Equal(test.day) || !undecided.Equal(test.undecided) {
			t.Errorf("%s: %v, %v", name, day, undecided)
		}
	}
}
