package policy

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/indexed"
)

const ruleDay = 24 * time.Hour

func matches(r Rule, f evidence.Finding) bool {
	return compileRules([]Rule{r})[0].matches(indexed.New(&f, &evidence.Platform{}))
}

// withFeeds returns evidence whose database has the KEV and EPSS feeds.
func withFeeds(findings ...evidence.Finding) evidence.Input {
	in := withFindings(findings...)
	for _, name := range []string{"epss", "kev"} {
		in.Database.Providers = append(in.Database.Providers, evidence.Provider{Name: name, Captured: now.Add(-2 * time.Hour)})
	}
	return in
}

func blockBy(r Rule) *Policy {
	r.Name = "rule"
	return &Policy{Rules: []Rule{r}}
}

func TestRuleConditions(t *testing.T) {
	f := finding("GHSA-1", evidence.SeverityMedium)
	f.Aliases = []string{"CVE-2024-1"}
	listed := f
	listed.KEV = &evidence.KEV{Added: now}
	likely := f
	likely.EPSS = &evidence.EPSS{Score: 0.1, Percentile: 0.95}
	scored := f
	scored.CVSS = []evidence.CVSS{{Score: 5}, {Score: 9}, {Score: 1}}
	for _, tt := range []struct {
		name string
		rule Rule
		f    evidence.Finding
		want bool
	}{
		{"listed", Rule{KEV: true}, listed, true},
		{"not listed", Rule{KEV: true}, f, false},
		{"at the score", Rule{EPSS: EPSSThreshold{Score: 0.1}}, likely, true},
		{"below the score", Rule{EPSS: EPSSThreshold{Score: 0.1001}}, likely, false},
		{"at the percentile", Rule{EPSS: EPSSThreshold{Percentile: 0.95}}, likely, true},
		{"below the percentile", Rule{EPSS: EPSSThreshold{Percentile: 0.951}}, likely, false},
		{"score and not percentile", Rule{EPSS: EPSSThreshold{Score: 0.1, Percentile: 1}}, likely, false},
		{"highest base score", Rule{CVSS: 9}, scored, true},
		{"below the base score", Rule{CVSS: 9.1}, scored, false},
		{"id", Rule{IDs: []string{"ghsa-1"}}, f, true},
		{"alias", Rule{IDs: []string{"CVE-0", "cve-2024-1"}}, f, true},
		{"other id", Rule{IDs: []string{"CVE-2024-10"}}, f, false},
		{"type", Rule{Package: PackageCondition{Type: "npm"}}, f, true},
		{"other type", Rule{Package: PackageCondition{Type: "deb"}}, f, false},
		{"name", Rule{Package: PackageCondition{Name: "lod*"}}, f, true},
		{"other name", Rule{Package: PackageCondition{Name: "loda"}}, f, false},
		{"purl", Rule{Package: PackageCondition{PURL: "pkg:npm/lodash@4.*"}}, f, true},
		{"other purl", Rule{Package: PackageCondition{PURL: "pkg:npm/lodash@5.*"}}, f, false},
		{"and", Rule{Package: PackageCondition{Type: "npm", Name: "other"}}, f, false},
		{"all", Rule{IDs: []string{"GHSA-1"}, Severity: evidence.SeverityMedium, Package: PackageCondition{Type: "*"}}, f, true},
		{"all but the severity", Rule{IDs: []string{"GHSA-1"}, Severity: evidence.SeverityHigh}, f, false},
	} {
		if got := matches(tt.rule, tt.f); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestMissingScoreIsNotLow(t *testing.T) {
	highest := []Rule{{CVSS: 10}, {EPSS: EPSSThreshold{Score: 1}}, {EPSS: EPSSThreshold{Percentile: 1}}}
	for name, f := range map[string]evidence.Finding{
		"none":       {},
		"not number": {CVSS: []evidence.CVSS{{Score: math.NaN()}}, EPSS: &evidence.EPSS{Score: math.NaN(), Percentile: math.NaN()}},
		"negative":   {CVSS: []evidence.CVSS{{Score: -1}}, EPSS: &evidence.EPSS{Score: -1, Percentile: -1}},
		"one beyond": {CVSS: []evidence.CVSS{{Score: 1}, {Score: 11}}, EPSS: &evidence.EPSS{Score: 2, Percentile: 2}},
	} {
		for _, r := range highest {
			if !matches(r, f) {
				t.Errorf("%s: not matched by %+v", name, r)
			}
		}
	}
}

func TestDatabaseWithoutFeedIsNotClean(t *testing.T) {
	for name, r := range map[string]Rule{
		`"kev"`:  {KEV: true, Effect: Warn},
		`"epss"`: {EPSS: EPSSThreshold{Score: 0.5}},
		// A grace period needs the KEV feed, because known exploited vulnerabilities have no grace
		// period.
		`provider "kev"`: {Grace: ruleDay},
	} {
		d := blockBy(r).Evaluate(cleanInput(), now)
		denied(t, d, "database rule")
		if len(d.Violations) > 0 && !strings.Contains(d.Violations[0].Message, name) {
			t.Errorf("message %q", d.Violations[0].Message)
		}
		passed(t, blockBy(r).Evaluate(withFeeds(), now))
	}

	two := &Policy{Rules: []Rule{{Name: "first", KEV: true}, {Name: "second", KEV: true}}}
	denied(t, two.Evaluate(cleanInput(), now), "database first")
}

// graced returns a finding whose fix became available on the given day.
func graced(day time.Time) evidence.Finding {
	f := finding("CVE-1", evidence.SeverityHigh)
	f.Fixes = []evidence.Fix{{Version: "3"}, {Version: "2", Available: day}, {Version: "4", Available: day.Add(ruleDay)}}
	return f
}

func TestGraceEndsToTheSecond(t *testing.T) {
	p := blockBy(Rule{Grace: 14 * ruleDay})
	fixed := now.Add(-10 * ruleDay)
	ends := fixed.Add(14 * ruleDay)
	in := withFeeds(graced(fixed))
	in.Database.Built = ends
	for i := range in.Database.Providers {
		in.Database.Providers[i].Captured = ends
	}

	d := p.Evaluate(in, ends.Add(-1))
	passed(t, d)
	if len(d.Warnings) != 1 || !d.Warnings[0].Blocks.Equal(ends) {
		t.Fatalf("warnings %+v", d.Warnings)
	}
	want := "CVE-1 in lodash 4.17.20: severity high, fixed in 3, 2, 4; blocks from 2026-06-19T12:00:00Z, when its grace of 14d ends"
	if diff := cmp.Diff(want, d.Warnings[0].Message); diff != "" {
		t.Error(diff)
	}
	if !d.Until.Equal(ends) {
		t.Errorf("until %v, want %v", d.Until, ends)
	}
	d = p.Evaluate(in, ends)
	denied(t, d, "vulnerability rule")
	if !d.Violations[0].Blocks.IsZero() {
		t.Errorf("blocks from %v and does already", d.Violations[0].Blocks)
	}
}

func TestUndatedFindingHasNoGrace(t *testing.T) {
	p := blockBy(Rule{Grace: 100 * ruleDay})
	published := finding("CVE-1", evidence.SeverityHigh)
	published.Published = now.Add(-ruleDay)
	passed(t, p.Evaluate(withFeeds(published), now))
	published.Published = now.Add(-100 * ruleDay)
	denied(t, p.Evaluate(withFeeds(published), now), "vulnerability rule")

	denied(t, p.Evaluate(withFeeds(finding("CVE-1", evidence.SeverityHigh)), now), "vulnerability rule")

	// If the day of the fix is known, it counts instead of the day of publication.
	published.Fixes = []evidence.Fix{{Version: "2", Available: now.Add(-ruleDay)}}
	passed(t, p.Evaluate(withFeeds(published), now))
}

func TestExploitedFindingHasNoGrace(t *testing.T) {
	f := graced(now.Add(-ruleDay))
	f.KEV = &evidence.KEV{}
	denied(t, blockBy(Rule{Grace: 100 * ruleDay}).Evaluate(withFeeds(f), now), "vulnerability rule")
}

// TestFutureFixGrantsNoGrace checks that a fix date in the future does not count. Otherwise the
// author of an advisory could delay the block indefinitely.
func TestFutureFixGrantsNoGrace(t *testing.T) {
	p := blockBy(Rule{Grace: 14 * ruleDay})
	far := graced(now.AddDate(70, 0, 0))
	denied(t, p.Evaluate(withFeeds(far), now), "vulnerability rule")

	soon := graced(now.Add(clock.Skew + 1))
	d := p.Evaluate(withFeeds(soon), now)
	denied(t, d, "vulnerability rule")
	if want := now.Add(1); !d.Until.Equal(want) {
		t.Errorf("until %v, want %v", d.Until, want)
	}
	passed(t, p.Evaluate(withFeeds(soon), now.Add(1)))

	soon.Published = now.Add(-20 * ruleDay)
	denied(t, p.Evaluate(withFeeds(soon), now), "vulnerability rule")
}

func TestFirstRuleThatBlocksNowDecides(t *testing.T) {
	f := graced(now.Add(-10 * ruleDay))
	f.Severity = evidence.SeverityHigh
	rules := map[string]Rule{
		"w":  {Effect: Warn},
		"w2": {Effect: Warn},
		"b":  {Severity: evidence.SeverityHigh},
		"b2": {},
		"c":  {Severity: evidence.SeverityCritical},
		"9":  {Grace: 9 * ruleDay},
		"14": {Grace: 14 * ruleDay},
		"11": {Grace: 11 * ruleDay},
		"x":  {Grace: 11 * ruleDay},
	}
	for order, want := range map[string]string{
		"w b b2 w2": "b block", "14 b": "b block", "14 9": "9 block", "w 14 11 w2": "11 warn", "14 x 11": "x warn",
		"c w w2": "w warn", "c 14": "14 warn", "b 9": "b block", "c": "",
	} {
		p := &Policy{}
		for _, name := range strings.Fields(order) {
			r := rules[name]
			r.Name = name
			p.Rules = append(p.Rules, r)
		}
		d := p.Evaluate(withFeeds(f), now)
		var got []string
		for _, v := range d.Violations {
			got = append(got, v.Rule+" block")
		}
		for _, v := range d.Warnings {
			got = append(got, v.Rule+" warn")
		}
		if diff := cmp.Diff(want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("%s: %s", order, diff)
		}
	}
}

func TestExceptionForFindingInGraceIsNotUnused(t *testing.T) {
	p := blockBy(Rule{Grace: 14 * ruleDay})
	p.Exceptions = []Exception{exceptionFor("CVE-1")}
	d := p.Evaluate(withFeeds(graced(now.Add(-ruleDay))), now)
	if len(d.Warnings) != 1 || d.Warnings[0].Kind != KindVulnerability {
		t.Errorf("warnings %+v", d.Warnings)
	}
}

func TestMessageSaysWhatTheRuleLooksAt(t *testing.T) {
	f := finding("CVE-1", evidence.SeverityHigh)
	f.KEV, f.EPSS, f.CVSS = &evidence.KEV{}, &evidence.EPSS{Score: 0.97123, Percentile: 0.999}, []evidence.CVSS{{Score: 9.8}}
	all := Rule{KEV: true, EPSS: EPSSThreshold{Score: 0.1}, CVSS: 9}
	for _, tt := range []struct {
		rule Rule
		f    evidence.Finding
		want string
	}{
		{all, f, "CVE-1 in lodash 4.17.20: severity high, known to be exploited, EPSS 0.97123 (percentile 0.999), CVSS 9.8, fixed in 4.17.21"},
		{Rule{}, f, "CVE-1 in lodash 4.17.20: severity high, fixed in 4.17.21"},
		{Rule{CVSS: 1, EPSS: EPSSThreshold{Score: 1}}, finding("CVE-1", evidence.SeverityHigh),
			"CVE-1 in lodash 4.17.20: severity high, EPSS unknown, CVSS unknown, fixed in 4.17.21"},
	} {
		d := blockBy(tt.rule).Evaluate(withFeeds(tt.f), now)
		denied(t, d, "vulnerability rule")
		if diff := cmp.Diff(tt.want, d.Violations[0].Message); diff != "" {
			t.Error(diff)
		}
	}
}

func TestParseConditions(t *testing.T) {
	p, err := Parse("p.yaml", []byte(minimal+`    kev: true
    epss: {score: 0.1, percentile: 1}
    cvss: 9
    package: {type: npm, name: "@scope/*", purl: pkg:npm/%40scope/a}
    ids: [CVE-2024-1, GHSA-1]
    grace: 1w
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Rule{
		Name: "all", Position: at(3, 5), KEV: true, EPSS: EPSSThreshold{Score: 0.1, Percentile: 1}, CVSS: 9,
		Package: PackageCondition{Type: "npm", Name: "@scope/*", PURL: "pkg:npm/%40scope/a"},
		IDs:     []string{"CVE-2024-1", "GHSA-1"}, Grace: 7 * ruleDay,
	}
	if diff := cmp.Diff(want, p.Rules[0]); diff != "" {
		t.Error(diff)
	}
}

func TestParseConditionErrors(t *testing.T) {
	for line, want := range map[string]string{
		"kev: false":                  `4:10: "kev": "false" can only be true: omit the key instead`,
		"kev: yes":                    `4:10: "kev" is text: expected true`,
		"kev: \"true\"":               `4:10: "kev" is text: expected true`,
		"epss: 0.5":                   `4:11: "epss" is a number: expected a mapping`,
		"epss: {}":                    `4:11: "epss" is empty: expected score or percentile`,
		"epss: {score: 0}":            `4:19: "score": "0" is not a plain decimal number above 0 and at most 1`,
		"epss: {score: 1.01}":         `4:19: "score": "1.01" is not a plain decimal number above 0 and at most 1`,
		"epss: {percentile: 95}":      `4:24: "percentile": "95" is not a plain decimal number above 0 and at most 1`,
		"epss: {score: .nan}":         `4:19: "score": ".nan" is not a plain decimal number above 0 and at most 1`,
		"epss: {score: -0.5}":         `4:19: "score": "-0.5" is not a plain decimal number above 0 and at most 1`,
		"epss: {score: 1e-1}":         `4:19: "score": "1e-1" is not a plain decimal number above 0 and at most 1`,
		"epss: {score: high}":         `4:19: "score" is text: expected a number`,
		"cvss: 10.1":                  `4:11: "cvss": "10.1" is not a plain decimal number above 0 and at most 10`,
		"cvss: \"9.0\"":               `4:11: "cvss" is text: expected a number`,
		"package: {}":                 `4:14: "package" is empty: expected type, name or purl`,
		"package: lodash":             `4:14: "package" is text: expected a mapping`,
		"package: {purl: lodash}":     `4:21: "purl": pattern "lodash" matches no package URL: a package URL begins with "pkg:"`,
		"ids: CVE-1":                  `4:10: "ids" is text: expected a list`,
		"ids: []":                     `4:10: "ids" is empty: omit the key to match all`,
		"ids: [CVE-*]":                `4:11: "ids": "CVE-*" is not the id of one vulnerability`,
		"grace: 14":                   `4:12: "grace" is a number: expected a duration with a unit, such as 5d`,
		"grace: 0d":                   `4:12: "grace": "0d" is not more than zero`,
		"effect: warn\n    grace: 1d": `3:5: a rule that only warns cannot have a grace period: it never blocks`,
	} {
		if diff := cmp.Diff([]string{"p.yaml:" + want}, problems(t, minimal+"    "+line+"\n")); diff != "" {
			t.Errorf("%s: %s", line, diff)
		}
	}
}
