package policy

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
)

// inheriting returns a policy with a baseline and the given rules. All of its rules block.
func inheriting(rules ...Rule) *Policy {
	p := &Policy{Baseline: InheritApproved, Rules: rules}
	for i := range p.Rules {
		p.Rules[i].Name = string(rune('a' + i))
	}
	return p
}

func withBaseline(b *evidence.Baseline, findings ...evidence.Finding) evidence.Input {
	in := withFeeds(findings...)
	in.Baseline = b
	return in
}

func TestInheritedFindingWarns(t *testing.T) {
	f := finding("GHSA-1", evidence.SeverityHigh)
	f.Aliases = []string{"CVE-1"}
	for name, tt := range map[string]struct {
		b    evidence.BaselineFinding
		want bool
	}{
		"same":                    {evidence.BaselineFinding{Platform: "linux/amd64", ID: "GHSA-1", Type: "npm", Name: "lodash"}, true},
		"any platform":            {evidence.BaselineFinding{ID: "GHSA-1", Type: "npm", Name: "lodash"}, true},
		"alias":                   {evidence.BaselineFinding{ID: "cve-1", Type: "npm", Name: "lodash"}, true},
		"alias of another":        {evidence.BaselineFinding{ID: "X", Aliases: []string{"CVE-1"}, Type: "npm", Name: "lodash"}, true},
		"another platform":        {evidence.BaselineFinding{Platform: "linux/arm64", ID: "GHSA-1", Type: "npm", Name: "lodash"}, false},
		"another id":              {evidence.BaselineFinding{ID: "CVE-2", Type: "npm", Name: "lodash"}, false},
		"another type":            {evidence.BaselineFinding{ID: "GHSA-1", Type: "deb", Name: "lodash"}, false},
		"another package":         {evidence.BaselineFinding{ID: "GHSA-1", Type: "npm", Name: "Lodash"}, false},
		"nothing but the package": {evidence.BaselineFinding{Type: "npm", Name: "lodash"}, false},
	} {
		d := inheriting(Rule{}).Evaluate(withBaseline(&evidence.Baseline{Findings: []evidence.BaselineFinding{tt.b}}, f), now)
		if d.Passed != tt.want || tt.want && (len(d.Warnings) != 1 || !d.Warnings[0].Inherited) {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func all(f evidence.Finding) *evidence.Baseline {
	return &evidence.Baseline{Findings: []evidence.BaselineFinding{{ID: f.ID, Type: f.Package.Type, Name: f.Package.Name}}}
}

func TestNothingIsInheritedByDefault(t *testing.T) {
	f := finding("CVE-1", evidence.SeverityHigh)
	denied(t, blockAll().Evaluate(withBaseline(all(f), f), now), "vulnerability all")
	denied(t, inheriting(Rule{}).Evaluate(withBaseline(nil, f), now), "vulnerability a")
	denied(t, inheriting(Rule{}).Evaluate(withBaseline(&evidence.Baseline{}, f), now), "vulnerability a")

	unnamed := finding("", evidence.SeverityHigh)
	denied(t, inheriting(Rule{}).Evaluate(withBaseline(all(unnamed), unnamed), now), "vulnerability a")
}

func TestExploitedFindingIsNotInherited(t *testing.T) {
	f := finding("CVE-1", evidence.SeverityHigh)
	f.KEV = &evidence.KEV{}
	denied(t, inheriting(Rule{}).Evaluate(withBaseline(all(f), f), now), "vulnerability a")

	// Without the KEV feed, the image must be denied, because it is unknown whether the inherited
	// vulnerability is exploited.
	in := withBaseline(all(f), finding("CVE-1", evidence.SeverityHigh))
	in.Database.Providers = in.Database.Providers[:1]
	denied(t, inheriting(Rule{}).Evaluate(in, now), "database baseline")
}

func TestNamedVulnerabilityIsNotInherited(t *testing.T) {
	f := finding("CVE-1", evidence.SeverityHigh)
	ids := Rule{IDs: []string{"CVE-1"}}
	for _, rules := range [][]Rule{{ids}, {ids, {}}, {{}, ids}, {{Effect: Warn}, {}, ids}} {
		d := inheriting(slices.Clone(rules)...).Evaluate(withBaseline(all(f), f), now)
		denied(t, d, "vulnerability "+string(rune('a'+slices.IndexFunc(rules, func(r Rule) bool { return len(r.IDs) > 0 }))))
	}
	// During a grace period, the finding only warns because of the grace period, not because of the
	// baseline.
	f = graced(now.Add(-ruleDay))
	d := inheriting(Rule{}, Rule{IDs: []string{"CVE-1"}, Grace: 2 * ruleDay}).Evaluate(withBaseline(all(f), f), now)
	passed(t, d)
	if len(d.Warnings) != 1 || d.Warnings[0].Rule != "b" || d.Warnings[0].Inherited || !d.Warnings[0].Blocks.Equal(now.Add(ruleDay)) {
		t.Errorf("%+v", d.Warnings)
	}
}

func TestInheritedFindingNeedsNoGrace(t *testing.T) {
	f := graced(now.Add(-ruleDay))
	d := inheriting(Rule{Grace: 2 * ruleDay}).Evaluate(withBaseline(all(f), f), now)
	passed(t, d)
	if len(d.Warnings) != 1 || !d.Warnings[0].Inherited || !d.Warnings[0].Blocks.IsZero() {
		t.Errorf("Blocks is set for a finding that never blocks: %+v", d.Warnings)
	}
}

func TestExceptionGoesBeforeInheritance(t *testing.T) {
	f := finding("CVE-1", evidence.SeverityHigh)
	p := inheriting(Rule{})
	p.Exceptions = []Exception{exceptionFor("CVE-1")}
	d := p.Evaluate(withBaseline(all(f), f), now)
	if !d.Passed || len(d.Excepted) != 1 || d.Excepted[0].Inherited || len(d.Warnings) != 0 {
		t.Errorf("%+v", d)
	}
	p.Exceptions[0].Expires = now
	d = p.Evaluate(withBaseline(all(f), f), now)
	if !d.Passed || len(d.Warnings) != 2 || len(d.Warnings[0].Expired) != 1 || !d.Warnings[0].Inherited {
		t.Errorf("%+v", d)
	}
	const want = "CVE-1 in lodash 4.17.20: severity high, fixed in 4.17.21; the approved image has it too"
	if diff := cmp.Diff(want, d.Warnings[0].Message); diff != "" {
		t.Error(diff)
	}
}

func TestParseBaseline(t *testing.T) {
	if p := parsed(t, minimal+"baseline: approved\n"); p.Baseline != InheritApproved {
		t.Errorf("%q", p.Baseline)
	}
	for value, want := range map[string]string{
		"none": `4:11: "baseline": unknown baseline "none": expected approved`,
		"true": `4:11: "baseline" is a boolean: expected approved`,
	} {
		if diff := cmp.Diff([]string{"p.yaml:" + want}, problems(t, minimal+"baseline: "+value+"\n")); diff != "" {
			t.Error(diff)
		}
	}
}

func TestBaselineIsReadIfAPolicyNeedsIt(t *testing.T) {
	p := parsed(t, minimal+"images:\n  - match: registry.example/legacy/*\n    baseline: approved\n")
	for repository, want := range map[string]bool{"registry.example/legacy/app": true, "registry.example/app": false} {
		if got := (Set{nil, p}).UsesBaseline(repository); got != want {
			t.Errorf("%s: %v", repository, got)
		}
	}
	if !(Set{p, inheriting(Rule{})}).UsesBaseline("any") {
		t.Error("UsesBaseline is false although one of two policies has a baseline for every image")
	}
}
