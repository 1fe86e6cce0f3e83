package policy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
)

func TestEmptySetDenies(t *testing.T) {
	for name, s := range map[string]Set{"nil": nil, "empty": {}, "nil policy": {nil}, "one missing": {blockAll(), nil}} {
		t.Run(name, func(t *testing.T) {
			denied(t, s.Evaluate(cleanInput(), now), "evidence evidence")
			if s.Validate(now) == nil {
				t.Error("is valid")
			}
		})
	}
	passed(t, Set{blockAll(), blockAll()}.Evaluate(cleanInput(), now))
}

// TestSecondPolicyOnlyTightens checks that a team's policy cannot let an image pass that the
// organization's policy blocks.
func TestSecondPolicyOnlyTightens(t *testing.T) {
	in := withFindings(finding("CVE-1", evidence.SeverityHigh))
	organisation := &Policy{File: "organisation.yaml", Rules: []Rule{{Name: "high", Severity: evidence.SeverityHigh, Position: at(1, 1)}}}
	team := &Policy{File: "team.yaml", Rules: []Rule{{Name: "critical", Severity: evidence.SeverityCritical}}}
	excepting := blockAll(exceptionFor("CVE-1"))
	warning := &Policy{Rules: []Rule{{Name: "all", Effect: Warn}}}
	for name, second := range map[string]*Policy{"allows": team, "excepts": excepting, "warns": warning} {
		for _, s := range []Set{{organisation, second}, {second, organisation}} {
			d := s.Evaluate(in, now)
			denied(t, d, "vulnerability high")
			if len(d.Excepted)+len(d.Allowed)+len(d.Warnings) > 0 {
				t.Errorf("%s: %+v", name, d)
			}
		}
	}
	for _, s := range []Set{{team, excepting}, {excepting, team}} {
		if d := s.Evaluate(in, now); !d.Passed || len(d.Excepted) != 1 || len(d.Allowed) != 0 {
			t.Errorf("%+v", d)
		}
	}
	for _, s := range []Set{{warning, excepting}, {excepting, warning}} {
		if d := s.Evaluate(in, now); !d.Passed || len(d.Warnings) != 1 || len(d.Excepted) != 0 {
			t.Errorf("%+v", d)
		}
	}
}

func TestSoonestGraceOfSeveralPoliciesIsListed(t *testing.T) {
	graceOf := func(days time.Duration) *Policy { return blockBy(Rule{Grace: days * ruleDay}) }
	warns := &Policy{Rules: []Rule{{Name: "warns", Effect: Warn}}}
	fixed := now.Add(-ruleDay)
	d := Set{warns, graceOf(5), graceOf(3), graceOf(4)}.Evaluate(withFeeds(graced(fixed)), now)
	passed(t, d)
	if len(d.Warnings) != 1 || !d.Warnings[0].Blocks.Equal(fixed.Add(3*ruleDay)) || !d.Until.Equal(d.Warnings[0].Blocks) {
		t.Errorf("until %v: %+v", d.Until, d.Warnings)
	}
}

func TestSameResultIsListedOnce(t *testing.T) {
	in := cleanInput()
	in.Image.Digest = ""
	in.Platforms[0].Unknowns = []evidence.Unknown{{Reason: "x"}, {Reason: "x"}}
	own := &Policy{Rules: []Rule{{Name: "all"}}, SBOM: SBOMRule{Position: at(7, 1)}}
	d := Set{blockAll(), blockAll(), own}.Evaluate(in, now)
	// The first two policies report the same two violations at the same positions, so these are
	// listed once. The third policy reports them at another position, so they are listed again.
	denied(t, d, "evidence evidence", "sbom sbom.unknowns", "sbom sbom.unknowns", "sbom sbom.unknowns", "sbom sbom.unknowns")
	var positions []string
	for _, v := range d.Violations[1:] {
		positions = append(positions, v.Position.String())
	}
	if diff := cmp.Diff([]string{"", "", "p.yaml:7:1", "p.yaml:7:1"}, positions); diff != "" {
		t.Error(diff)
	}

	warning := &Policy{Rules: []Rule{{Name: "all"}}, SBOM: SBOMRule{Unknowns: warnUnknowns}}
	d = Set{warning, blockAll()}.Evaluate(in, now)
	denied(t, d, "evidence evidence", "sbom sbom.unknowns", "sbom sbom.unknowns")
	if len(d.Warnings) != 2 {
		t.Errorf("%+v", d.Warnings)
	}
}

func TestSetDigest(t *testing.T) {
	a, b := parsed(t, minimal), parsed(t, minimal+"# b\n")
	seen := map[string]bool{}
	for _, s := range []Set{nil, {a}, {b}, {a, b}, {b, a}, {a, a}, {a, nil}, {nil}, {nil, a}} {
		if seen[s.Digest()] {
			t.Errorf("%d policies: another set has the digest %q", len(s), s.Digest())
		}
		seen[s.Digest()] = true
	}
	if (Set{a}).Digest() != a.Digest || (Set{}).Digest() != "" {
		t.Error("the digest of one policy is its own, and that of none is empty")
	}
}

func TestSetValidate(t *testing.T) {
	const exceptions = "exceptions: {maxLifetime: 1d, list: [{id: CVE-1, reason: r, owner: o, expires: 2026-06-20}]}\n"
	a, err := Parse("a.yaml", []byte(minimal+exceptions))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Parse("b.yaml", []byte(minimal+exceptions+"# b\n"))
	if err != nil {
		t.Fatal(err)
	}
	const text = `.yaml:4:38: the exception for "CVE-1" expires on 2026-06-20T00:00:00Z, more than 1d ahead of now`
	if diff := cmp.Diff([]string{"a" + text, "b" + text}, lines(t, Set{b, a}.Validate(now))); diff != "" {
		t.Error(diff)
	}
}
