package policy

import (
	"testing"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
)

// withAdvisories returns clean evidence whose database has these numbers of advisories.
func withAdvisories(counted ...evidence.Advisories) evidence.Input {
	in := cleanInput()
	in.Database.Advisories = counted
	return in
}

// TestEmptyOrOtherDatabaseNeverPasses checks that an image is denied if the database has no
// advisory for it, even if the policy does not set minAdvisories and only warns about unmatched
// packages.
func TestEmptyOrOtherDatabaseNeverPasses(t *testing.T) {
	p := blockAll()
	p.Distribution.NotCovered = warnNotCovered
	for name, in := range map[string]evidence.Input{
		"not counted":     withAdvisories(),
		"empty":           withAdvisories(evidence.Advisories{Distribution: "debian 12"}, evidence.Advisories{Type: "npm"}),
		"negative counts": withAdvisories(evidence.Advisories{Distribution: "debian 12", Count: -5}),
	} {
		t.Run(name, func(t *testing.T) { denied(t, p.Evaluate(in, now), "database database.minAdvisories") })
	}
	passed(t, p.Evaluate(withAdvisories(evidence.Advisories{Distribution: "debian 12"}, evidence.Advisories{Type: "npm", Count: 1}), now))
}

// TestOneAdvisoryDoesNotCoverAType checks that minAdvisories applies to the distribution and to
// each package type separately. Many advisories for one type do not make up for too few for another
// type.
func TestOneAdvisoryDoesNotCoverAType(t *testing.T) {
	p := blockAll()
	p.Database.MinAdvisories = 10
	for name, tt := range map[string]struct {
		in   evidence.Input
		want []string
	}{
		"one private advisory":  {withAdvisories(evidence.Advisories{Distribution: "debian 12", Count: 30_000}, evidence.Advisories{Type: "npm", Count: 1}), []string{"database database.minAdvisories"}},
		"few for both":          {withAdvisories(evidence.Advisories{Type: "npm", Count: 9}, evidence.Advisories{Distribution: "debian 12", Count: 5}), []string{"database database.minAdvisories", "database database.minAdvisories"}},
		"none for the type":     {withAdvisories(evidence.Advisories{Distribution: "debian 12", Count: 30_000}, evidence.Advisories{Type: "npm"}), []string{"database database.minAdvisories"}},
		"none at all":           {withAdvisories(evidence.Advisories{Distribution: "debian 12"}), []string{"database database.minAdvisories"}},
		"enough":                {withAdvisories(evidence.Advisories{Distribution: "debian 12", Count: 10}, evidence.Advisories{Type: "npm", Count: 11}), nil},
		"enough, none by CPE":   {withAdvisories(evidence.Advisories{Distribution: "debian 12", Count: 10}, evidence.Advisories{Type: "R-package", ByCPE: true}), []string{"database database.minAdvisories"}},
		"more than was counted": {withAdvisories(evidence.Advisories{Distribution: "debian 12", Count: 10, AtLeast: true}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := p.Evaluate(tt.in, now)
			if tt.want == nil {
				passed(t, d)
				return
			}
			denied(t, d, tt.want...)
		})
	}
	want := "the number of advisories for npm packages is 1 and must be 10 or more"
	if got := p.Evaluate(withAdvisories(evidence.Advisories{Type: "npm", Count: 1}), now).Violations[0].Message; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

// TestStaleDatabaseIsExceptedOnlyByEvaluate checks that an exception for the age of the database
// makes MaxDatabaseAge return no limit. Only Evaluate can decide whether the exception applies.
func TestStaleDatabaseIsExceptedOnlyByEvaluate(t *testing.T) {
	const anyAge = 1 << 62
	p := blockAll()
	in := cleanInput()
	in.Database.Built = now.Add(-30 * ruleDay)
	if got := (Set{p}).MaxDatabaseAge(in.Image.Repository); got != DefaultMaxAge {
		t.Errorf("limit %v without an exception", got)
	}
	p.Exceptions = []Exception{{Rule: "database.maxAge", Reason: "r", Owner: "o", Expires: now.Add(time.Hour), Image: "registry.example/*"}}
	if got := (Set{p}).MaxDatabaseAge(in.Image.Repository); got < anyAge {
		t.Errorf("limit %v with an exception", got)
	}
	for name, repository := range map[string]string{"another image": "elsewhere/app", "a path": "oci:app"} {
		if got := (Set{p}).MaxDatabaseAge(repository); got != DefaultMaxAge {
			t.Errorf("%s: limit %v", name, got)
		}
	}
	if got := (Set{p, blockAll()}).MaxDatabaseAge(in.Image.Repository); got != DefaultMaxAge {
		t.Errorf("limit %v although another policy has no exception", got)
	}
	passed(t, p.Evaluate(in, now))
	denied(t, p.Evaluate(in, now.Add(time.Hour)), "database database.maxAge")
}
