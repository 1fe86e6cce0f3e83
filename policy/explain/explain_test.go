package explain

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

var now = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// evidenceWith returns evidence with these findings. Apart from the findings, it passes every
// policy.
func evidenceWith(findings ...evidence.Finding) evidence.Input {
	return evidence.Input{
		Image: evidence.Image{Reference: "registry.example/team/app:1", Repository: "registry.example/team/app", Digest: "sha256:a"},
		Database: evidence.Database{
			Digest: "sha256:d", Built: now,
			Providers:  []evidence.Provider{{Name: "epss", Captured: now}, {Name: "kev", Captured: now}},
			Advisories: []evidence.Advisories{{Distribution: "debian 12", Count: 30_000}},
		},
		Platforms: []evidence.Platform{{
			Platform: "linux/amd64", Digest: "sha256:b", Distribution: evidence.Distribution{ID: "debian", Version: "12"},
			Packages: []evidence.Package{{Name: "lodash", Version: "4.17.20", Type: "npm", PURL: "pkg:npm/lodash@4.17.20"}},
			Findings: findings,
		}},
	}
}

func finding(id string, severity evidence.Severity) evidence.Finding {
	return evidence.Finding{
		ID: id, Severity: severity, FixState: evidence.FixAvailable, Fixes: []evidence.Fix{{Version: "4.17.21"}},
		Package: evidence.Package{Name: "lodash", Version: "4.17.20", Type: "npm", PURL: "pkg:npm/lodash@4.17.20"},
	}
}

// graced returns a finding whose grace period starts at the given time.
func graced(fixed time.Time) evidence.Finding {
	f := finding("CVE-1", evidence.SeverityHigh)
	f.Fixes = []evidence.Fix{{Version: "3", Available: fixed.Add(time.Hour)}, {Version: "2", Available: fixed}, {Version: "4"}}
	return f
}

func blockAll() *policy.Policy { return &policy.Policy{Rules: []policy.Rule{{Name: "all"}}} }

func exceptionFor(id string) policy.Exception {
	return policy.Exception{ID: id, Reason: "r", Owner: "o", Expires: now.Add(day)}
}

func parsed(t *testing.T, file, data string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse(file, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func at(line, column int) policy.Position {
	return policy.Position{File: "p.yaml", Line: line, Column: column}
}

func TestExplain(t *testing.T) {
	organisation := parsed(t, "p.yaml", `version: 1
rules:
  - name: fixable
    fix: available
    grace: 20d
  - name: critical
    severity: critical
exceptions: {maxLifetime: 90d, folder: exceptions}
images:
  - match: registry.example/team/*
    rules: [{name: high, severity: high}]
`)
	team := parsed(t, "team.yaml", "version: 1\nrules:\n  - {name: rest, effect: warn}\n  - {name: named, ids: [CVE-1]}\n")
	s := policy.Set{organisation, team}
	f := graced(now.Add(-10 * day))
	f.Aliases = []string{"GHSA-1"}
	in := evidenceWith(f, finding("CVE-2", evidence.SeverityLow))
	d := s.Evaluate(in, now)

	got := Entries(s, in, d, "ghsa-1", now)
	want := []Explanation{{
		Outcome:   Blocked,
		Violation: d.Violations[0],
		Rules: []policy.MatchingRule{
			{Rule: "fixable", Position: at(3, 5), Grace: 20 * day},
			{Rule: "high", Position: at(11, 13), Scope: "registry.example/team/*"},
			{Rule: "rest", Position: policy.Position{File: "team.yaml", Line: 3, Column: 5}, Effect: policy.Warn},
			{Rule: "named", Position: policy.Position{File: "team.yaml", Line: 4, Column: 5}},
		},
		UpgradeTo: []string{"3", "2", "4"},
		ExceptIn:  []ExceptionPlace{{"p.yaml", "exceptions", 90 * day}, {File: "team.yaml"}},
		Remedies: []string{
			"upgrade lodash to 3 or 2 or 4",
			"an exception with id CVE-1 in p.yaml or its folder exceptions, which expires at most 90d from now",
			"an exception with id CVE-1 in team.yaml",
			"it does not pass without a change",
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if d.Violations[0].Rule != "high" || d.Violations[0].Scope != "registry.example/team/*" {
		t.Errorf("%+v", d.Violations[0])
	}

	if diff := cmp.Diff(want, Entries(s, in, d, "high", now)); diff != "" {
		t.Errorf("by its rule: %s", diff)
	}
	// The name of a rule selects only findings that the rule decides about.
	for _, none := range []string{"CVE-3", "rest", "HIGH"} {
		if got := Entries(s, in, d, none, now); got != nil {
			t.Errorf("%s: %+v", none, got)
		}
	}
	// The finding is a warning and will never block, so it needs no remedy.
	got = Entries(policy.Set{team}, in, policy.Set{team}.Evaluate(in, now), "CVE-2", now)
	if len(got) != 1 || got[0].Outcome != Warned || len(got[0].Rules) != 1 || got[0].ExceptIn != nil || got[0].Remedies != nil {
		t.Errorf("%+v", got)
	}
}

func TestExplainEveryOutcome(t *testing.T) {
	p := &policy.Policy{
		File:  "p.yaml",
		Rules: []policy.Rule{{Name: "high", Severity: evidence.SeverityHigh}, {Name: "graced", Severity: evidence.SeverityMedium, Grace: 30 * day}},
		VEX:   policy.VEXRule{Accept: []evidence.VEXStatus{evidence.VEXNotAffected}, Files: true}, Exceptions: []policy.Exception{exceptionFor("excepted")},
	}
	unfixed := finding("blocked", evidence.SeverityHigh)
	unfixed.Fixes, unfixed.FixState = nil, evidence.FixWont
	inGrace := graced(now.Add(-day))
	inGrace.ID, inGrace.Severity = "graced", evidence.SeverityMedium
	in := evidenceWith(unfixed, inGrace, finding("excepted", evidence.SeverityHigh), finding("taken", evidence.SeverityHigh), finding("allowed", evidence.SeverityLow))
	statement := evidence.VEXStatement{ID: "taken", Status: evidence.VEXNotAffected, Products: []string{"pkg:npm/lodash"}, Timestamp: now.Add(-day)}
	in.VEX = []evidence.VEXStatement{statement}
	d := p.Evaluate(in, now)
	for id, want := range map[string]Explanation{
		"blocked":  {Outcome: Blocked, Remedies: []string{"no fixed version is known: remove lodash or build without it", "an exception with id blocked in p.yaml", "it does not pass without a change"}},
		"graced":   {Outcome: Warned, Remedies: []string{"upgrade lodash to 3 or 2 or 4", "an exception with id graced in p.yaml", "it does not pass without a change"}},
		"excepted": {Outcome: Excepted, Exception: &p.Exceptions[0]},
		"taken":    {Outcome: NotAffected, Statement: &statement},
		"allowed":  {Outcome: Allowed},
	} {
		got := Entries(policy.Set{p}, in, d, id, now)
		if len(got) != 1 {
			t.Errorf("%s: %+v", id, got)
			continue
		}
		short := Explanation{Outcome: got[0].Outcome, Remedies: got[0].Remedies, Exception: got[0].Exception, Statement: got[0].Statement}
		if diff := cmp.Diff(want, short); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
		if got[0].Finding == nil || got[0].Platform == "" {
			t.Errorf("%s: %+v", id, got[0])
		}
	}
}

func TestExplainRule(t *testing.T) {
	p := blockAll()
	p.File = "p.yaml"
	in := evidenceWith()
	in.Image.Digest = ""
	got := Entries(policy.Set{p}, in, p.Evaluate(in, now), "evidence", now)
	if len(got) != 1 || len(got[0].Remedies) != 1 || got[0].Remedies[0] != "exceptions do not apply here: fix the problem that the message describes" {
		t.Errorf("%+v", got)
	}

	named := policy.Decision{Violations: []policy.Violation{{Kind: "package", Rule: "no telnet", Position: at(3, 5), Message: "m"}}}
	got = Entries(policy.Set{p, nil, {File: "other.yaml"}}, in, named, "no telnet", now)
	want := []string{"an exception with rule no telnet in p.yaml", "it does not pass without a change"}
	if len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	if diff := cmp.Diff(want, got[0].Remedies); diff != "" {
		t.Error(diff)
	}
}

func TestExplainOffersAnExceptionForAGap(t *testing.T) {
	p := parsed(t, "p.yaml", "version: 1\nrules:\n  - name: all\n")
	in := evidenceWith()
	in.Platforms[0].Unmatched = []evidence.Unmatched{{Reason: evidence.TypeNotInDatabase, Type: "npm", Packages: 1}}
	got := Entries(policy.Set{p}, in, p.Evaluate(in, now), "distribution.notCovered", now)
	if len(got) != 1 || !slices.ContainsFunc(got[0].Remedies, func(s string) bool { return strings.Contains(s, "rule distribution.notCovered") }) {
		t.Errorf("%+v", got)
	}
}

// FuzzEntries checks that the entries of a decision by any policy can be explained.
func FuzzEntries(f *testing.F) {
	files, err := filepath.Glob("../../examples/policies/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := policy.Parse("p.yaml", data)
		if err != nil {
			return
		}
		in := evidenceWith(finding("CVE-1", evidence.SeverityHigh))
		if got := Entries(policy.Set{p}, in, p.Evaluate(in, now), "cve-1", now); len(got) != 1 {
			t.Errorf("%+v", got)
		}
	})
}
