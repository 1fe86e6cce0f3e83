package diff

import (
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

// snapshot evaluates these findings at the time at.
func snapshot(p *policy.Policy, at time.Time, findings ...evidence.Finding) Snapshot {
	in := evidenceWith(findings...)
	in.Database.Built = at
	for i := range in.Database.Providers {
		in.Database.Providers[i].Captured = at
	}
	return Snapshot{Input: in, Decision: p.Evaluate(in, at), Policy: p.Digest, At: at}
}

func TestDiff(t *testing.T) {
	p := &policy.Policy{Digest: "sha256:1", Rules: []policy.Rule{
		{Name: "graced", Severity: evidence.SeverityHigh, Grace: 14 * day}, {Name: "critical", Severity: evidence.SeverityCritical},
	}}
	stricter := *p
	stricter.Digest, stricter.Rules = "sha256:2", []policy.Rule{{Name: "all"}}
	excepting := *p
	excepting.Exceptions = []policy.Exception{exceptionFor("CVE-1")}
	low, critical := finding("CVE-1", evidence.SeverityLow), finding("CVE-1", evidence.SeverityCritical)
	renamed := low
	renamed.ID, renamed.Aliases, renamed.Package.Version = "GHSA-1", []string{"CVE-1"}, "4.17.21"
	inGrace := graced(now.Add(-13 * day))
	exploited := inGrace
	exploited.KEV = &evidence.KEV{}
	older := low
	older.Package.Version = "3"
	later := now.Add(2 * day)

	for _, tt := range []struct {
		name          string
		before, after Snapshot
		want          []string
	}{
		{"nothing", snapshot(p, now, low), snapshot(p, now, low), nil},
		{"another name for it", snapshot(p, now, low), snapshot(p, now, renamed), nil},
		{"one version less", snapshot(p, now, low, older), snapshot(p, now, low), nil},
		{"new", snapshot(p, now), snapshot(p, now, critical), []string{"new finding: CVE-1 in lodash 4.17.20 is new and blocked"}},
		{"gone", snapshot(p, now, low), snapshot(p, now), []string{"gone finding: CVE-1 in lodash 4.17.20 is gone and was allowed"}},
		{"database", snapshot(p, now), snapshot(p, later), []string{
			"database changed: the vulnerability database built on 2026-06-15T12:00:00Z has been replaced by one built on 2026-06-17T12:00:00Z"}},
		{"policy", snapshot(p, now, low), snapshot(&stricter, now, low), []string{
			"policy changed: the policy has changed from sha256:1 to sha256:2",
			"decided differently: CVE-1 in lodash 4.17.20 was allowed and is now blocked",
		}},
		{"severity", snapshot(p, now, low), snapshot(p, now, critical), []string{
			"decided differently: CVE-1 in lodash 4.17.20 was allowed and is now blocked"}},
		{"exception", snapshot(&excepting, now, critical), snapshot(&excepting, later, critical), []string{
			"database changed: the vulnerability database built on 2026-06-15T12:00:00Z has been replaced by one built on 2026-06-17T12:00:00Z",
			`exception expired: the exception for "CVE-1" expired on 2026-06-16T12:00:00Z: CVE-1 in lodash 4.17.20 is now blocked`,
		}},
		{"grace", snapshot(p, now, inGrace), snapshot(p, later, inGrace), []string{
			"database changed: the vulnerability database built on 2026-06-15T12:00:00Z has been replaced by one built on 2026-06-17T12:00:00Z",
			"grace ended: the grace period of CVE-1 in lodash 4.17.20 ended on 2026-06-16T12:00:00Z",
		}},
		{"exploited in grace", snapshot(p, now, inGrace), snapshot(p, now, exploited), []string{
			"known to be exploited: CVE-1 in lodash 4.17.20 is now known to be exploited and blocked"}},
	} {
		var got []string
		for _, c := range Snapshots(tt.before, tt.after) {
			got = append(got, string(c.Kind)+": "+c.Message)
			if about := strings.Contains(c.Message, "CVE-1"); about != (c.Finding != nil) || about != (c.Platform != "") {
				t.Errorf("%s: %+v", tt.name, c)
			}
			if (c.Kind == ChangeException) != (c.Exception != nil) {
				t.Errorf("%s: %+v", tt.name, c)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestDiffKeepsPlatformsApart(t *testing.T) {
	before, after := snapshot(blockAll(), now, finding("CVE-1", evidence.SeverityHigh)), snapshot(blockAll(), now, finding("CVE-1", evidence.SeverityHigh))
	after.Input.Platforms[0].Platform = "linux/arm64"
	after.Input.Image.Digest = "sha256:1"
	after.Decision = blockAll().Evaluate(after.Input, now)
	var kinds []ChangeKind
	for _, c := range Snapshots(before, after) {
		kinds = append(kinds, c.Kind)
	}
	if diff := cmp.Diff([]ChangeKind{ChangeImage, ChangeNew, ChangeGone}, kinds); diff != "" {
		t.Error(diff)
	}
}

func TestDiffOfRules(t *testing.T) {
	in := evidenceWith()
	in.Platforms[0].Unknowns = []evidence.Unknown{{Reason: "r"}}
	judge := func(effect policy.Effect) Snapshot {
		p := blockAll()
		p.SBOM.Unknowns.File = effect
		return Snapshot{Input: in, Decision: p.Evaluate(in, now), At: now}
	}
	got := Snapshots(judge(policy.Warn), judge(policy.Block))
	want := []Change{{Kind: ChangeOutcome, Platform: "linux/amd64", Message: `the result of rule "sbom.unknowns" was warned and is now blocked`}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
