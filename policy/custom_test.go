package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/evidence"
)

// parseCustom parses the custom rules of a policy that has no other sections.
func parseCustom(source string) ([]CustomRule, error) {
	d := newDecoder("policy.yaml", "")
	rules := []CustomRule{}
	if root := d.Document([]byte(source)); root != nil {
		d.Mapping(root, "the policy", strict.Optional("custom", d.custom(&rules, map[string]int{})))
	}
	return rules, d.err()
}

// customRule creates one rule. If message is empty, the rule has no message key.
func customRule(t testing.TB, each Each, effect Effect, when, message string) *CustomRule {
	t.Helper()
	block := func(s string) string { return "|-\n      " + strings.ReplaceAll(s, "\n", "\n      ") + "\n" }
	source := fmt.Sprintf("custom:\n  - name: a rule\n    each: %s\n    effect: %s\n    when: %s", each, effect, block(when))
	if message != "" {
		source += "    message: " + block(message)
	}
	rules, err := parseCustom(source)
	if err != nil {
		t.Fatalf("%s\n%v", source, err)
	}
	return &rules[0]
}

// customInput returns the evidence of these tests: one platform with two packages.
func customInput() *evidence.Input {
	return &evidence.Input{
		Image: evidence.Image{Reference: "registry.example/team/app:1", Repository: "registry.example/team/app", Digest: "sha256:aa"},
		Platforms: []evidence.Platform{{
			Platform:     "linux/amd64",
			Digest:       "sha256:bb",
			Distribution: evidence.Distribution{ID: "debian", Version: "12", EndOfLife: now.Add(90 * ruleDay)},
			Packages: []evidence.Package{
				{Name: "telnetd", Version: "0.17", Type: "deb", PURL: "pkg:deb/debian/telnetd@0.17", Licenses: []string{"GPL-2.0-only", "MIT"}},
				{Name: "bash", Version: "5.2", Type: "deb", PURL: "pkg:deb/debian/bash@5.2", Found: []evidence.Location{{Path: "/var/lib/dpkg/status"}}},
			},
			Config: &evidence.ImageConfig{User: "root", Labels: map[string]string{"owner": "payments", "team": "a"}},
			Size:   1000,
		}},
	}
}

// TestCustomRuleHasItsEffectAndPosition checks the violations of rules about packages and
// platforms. A rule that cannot be evaluated blocks whatever its effect.
func TestCustomRuleHasItsEffectAndPosition(t *testing.T) {
	for _, test := range []struct {
		each    Each
		when    string
		message string
		pkg     string
		failed  bool
	}{
		{EachPackage, `pkg.name == "telnetd"`, `telnetd 0.17: matched by the rule "a rule"`, "telnetd", false},
		{EachPlatform, `platform.size < 1001`, `matched by the rule "a rule"`, "", false},
		{EachPlatform, `platform.base.name == ""`, `the rule "a rule" could not be evaluated, which blocks: "base is unknown: check it with has() first"`, "", true},
	} {
		for _, effect := range []Effect{Block, Warn} {
			p := blockAll()
			p.Custom = []CustomRule{*customRule(t, test.each, effect, test.when, "")}
			in := cleanInput()
			in.Platforms[0] = customInput().Platforms[0]
			d := p.Evaluate(in, now)
			got, other := d.Violations, d.Warnings
			if effect == Warn && !test.failed {
				got, other = other, got
			}
			if len(got) != 1 || len(other) != 0 {
				t.Fatalf("%s, %s: %+v", test.when, effect, d)
			}
			want := Violation{Kind: KindCustom, Rule: "a rule", Position: Position{File: "policy.yaml", Line: 2, Column: 5}, Platform: "linux/amd64",
				Message: test.message, Unevaluated: test.failed}
			if test.pkg != "" {
				want.Package = &in.Platforms[0].Packages[0]
			}
			if diff := cmp.Diff(want, got[0]); diff != "" {
				t.Errorf("%s, %s: %s", test.when, effect, diff)
			}
		}
	}
}

// TestUncompiledCustomRuleDoesNotPass checks that rules that Parse did not compile block.
func TestUncompiledCustomRuleDoesNotPass(t *testing.T) {
	for _, r := range []CustomRule{{}, {Name: "x", Effect: Warn, Each: EachFinding, When: "false"}, {Effect: Warn, Each: EachPlatform, When: "false"}} {
		p := blockAll()
		p.Rules[0].Severity = evidence.SeverityCritical
		p.Custom = []CustomRule{r}
		d := p.Evaluate(withFindings(finding("CVE-1", evidence.SeverityLow)), now)
		if d.Passed || !d.TimeDependent || !d.Violations[0].Unevaluated {
			t.Errorf("%+v: %+v", r, d)
		}
	}
}

// TestCustomRulesCompare checks that rules can be compared, although their compiled expressions
// cannot.
func TestCustomRulesCompare(t *testing.T) {
	const source = "custom:\n  - name: x\n    each: package\n    when: pkg.name == 'a'\n"
	a, err := parseCustom(source)
	if err != nil {
		t.Fatal(err)
	}
	b, err := parseCustom(source)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
	want := []CustomRule{{Name: "x", Position: Position{"policy.yaml", 2, 5}, Each: EachPackage, When: "pkg.name == 'a'"}}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
	for _, change := range []func(*CustomRule){
		func(r *CustomRule) { r.Name = "y" },
		func(r *CustomRule) { r.Position.Line++ },
		func(r *CustomRule) { r.Effect = Warn },
		func(r *CustomRule) { r.Each = EachPlatform },
		func(r *CustomRule) { r.When = "pkg.name == 'b'" },
		func(r *CustomRule) { r.Message = "''" },
	} {
		other := b[0]
		change(&other)
		if cmp.Equal(a[0], other) {
			t.Errorf("%v equals %v", a[0], other)
		}
	}
}
