package report

import (
	"reflect"
	"testing"
	"time"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// found returns a violation: a vulnerability of the package name, found at path.
func found(platform, id, name, path string) policy.Violation {
	return policy.Violation{Kind: policy.KindVulnerability, Rule: "r", Platform: platform, Finding: &evidence.Finding{ID: id,
		Package: evidence.Package{Name: name, Version: "1", Type: "npm", PURL: "pkg:npm/" + name + "@1", Found: []evidence.Location{{Path: path}}}}}
}

// TestItemsJoinPlatformsAndPaths checks that the same problem on two platforms, or at two paths, is
// one item, and that items of different statuses or exceptions stay apart.
func TestItemsJoinPlatformsAndPaths(t *testing.T) {
	a, b := found("linux/amd64", "CVE-1", "x", "/a"), found("linux/arm64", "CVE-1", "x", "/b")
	d := policy.Decision{
		Violations: []policy.Violation{a, b, found("linux/amd64", "CVE-2", "x", "/a")},
		Warnings:   []policy.Violation{a},
		Excepted: []policy.Excepted{
			{Violation: a, Exception: policy.Exception{Position: policy.Position{Line: 1}}},
			{Violation: b, Exception: policy.Exception{Position: policy.Position{Line: 1}}},
			{Violation: b, Exception: policy.Exception{Position: policy.Position{Line: 2}}}},
		NotAffected: []policy.NotAffected{{Violation: a}, {Violation: b}},
	}
	r := Report{Decision: &d}
	items := r.Items()
	want := Counts{Blocking: 2, Warnings: 1, Excepted: 2, NotAffected: 1, Packages: 1}
	if got := CountItems(items); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	first := items[0]
	if !reflect.DeepEqual(first.Platforms, []string{"linux/amd64", "linux/arm64"}) || len(first.Places) != 2 {
		t.Errorf("the first item has platforms %q and places %v", first.Platforms, first.Places)
	}
	for i := 1; i < len(items); i++ {
		if items[i].Status < items[i-1].Status {
			t.Errorf("item %d has status %s after %s", i, items[i].Status, items[i-1].Status)
		}
	}
}

// TestFingerprintIgnoresVersions checks that an upgrade, another path or another platform keeps the
// fingerprint, and that another package, vulnerability, rule or repository changes it.
func TestFingerprintIgnoresVersions(t *testing.T) {
	item := func(change func(*policy.Violation)) *Item {
		v := found("linux/amd64", "CVE-1", "x", "/a")
		change(&v)
		return &Item{Violation: v}
	}
	base := item(func(*policy.Violation) {}).Fingerprint("registry.example/app")
	for name, same := range map[string]func(*policy.Violation){
		"version":  func(v *policy.Violation) { v.Finding.Package.PURL, v.Finding.Package.Version = "pkg:npm/x@2?a=b", "2" },
		"platform": func(v *policy.Violation) { v.Platform = "linux/arm64" },
		"path":     func(v *policy.Violation) { v.Finding.Package.Found = nil },
		"message":  func(v *policy.Violation) { v.Message = "in other words" },
	} {
		if got := item(same).Fingerprint("registry.example/app"); got != base {
			t.Errorf("another %s changes the fingerprint", name)
		}
	}
	for name, other := range map[string]func(*policy.Violation){
		"package": func(v *policy.Violation) { v.Finding.Package.PURL = "pkg:npm/y@1" },
		"id":      func(v *policy.Violation) { v.Finding.ID = "CVE-2" },
		"rule":    func(v *policy.Violation) { v.Rule = "s" },
	} {
		if got := item(other).Fingerprint("registry.example/app"); got == base {
			t.Errorf("another %s keeps the fingerprint", name)
		}
	}
	old := func(days string) string {
		i := Item{Violation: policy.Violation{Kind: policy.KindDatabase, Rule: "database.maxAge", Message: "the database is " + days + " days old"}}
		return i.Fingerprint("registry.example/app")
	}
	if old("6") != old("7") {
		t.Error("another age of the database changes the fingerprint")
	}
	if item(func(*policy.Violation) {}).Fingerprint("registry.example/other") == base {
		t.Error("another repository keeps the fingerprint")
	}
}

func TestVerdict(t *testing.T) {
	fixed := found("linux/amd64", "CVE-1", "x", "/a")
	fixed.Finding.FixState, fixed.Finding.Fixes = evidence.FixAvailable, []evidence.Fix{{Version: "2"}}
	onARM := fixed
	onARM.Platform = "linux/arm64"
	until := time.Date(2026, 12, 4, 0, 0, 0, 0, time.UTC)
	failed := &Error{Class: ClassRegistry, Message: "GET https://registry.example: 503\nmore"}
	for _, c := range []struct {
		name      string
		report    Report
		word, why string
	}{
		{"zero", Report{}, "FAILED", "no decision was made, so the image did not pass"},
		{"error", Report{Error: failed}, "FAILED", "no decision was made, so the image did not pass: registry error: GET https://registry.example: 503"},
		{"denied", Report{Decision: &policy.Decision{Violations: []policy.Violation{fixed, found("", "CVE-2", "x", "/a")}}}, "DENIED",
			"2 problems in 1 package: 1 has a fix, 1 has none"},
		{"root", Report{Decision: &policy.Decision{Violations: []policy.Violation{{Kind: policy.KindImage, Message: "runs as root"}}}}, "DENIED", "1 problem"},
		{"both", Report{Decision: &policy.Decision{Violations: []policy.Violation{{Kind: policy.KindImage, Message: "runs as root"}, fixed}}}, "DENIED",
			"2 problems: 1 vulnerability in 1 package and 1 other; 1 has a fix"},
		{"denied without a reason", Report{Decision: &policy.Decision{}}, "DENIED", "no violation is listed, but the image did not pass"},
		{"passed", Report{Decision: &policy.Decision{Passed: true, Until: until, Warnings: []policy.Violation{fixed}}}, "PASSED", "nothing blocks, 1 warning"},
		{"not affected", Report{Decision: &policy.Decision{Passed: true, NotAffected: []policy.NotAffected{{Violation: fixed}}}}, "PASSED", "nothing blocks, 1 not affected"},
		{"overridden on two platforms", Report{Override: &policy.GrantedOverride{Override: policy.Override{Expires: until}, Violations: make([]policy.Overridden, 2)},
			Decision:     &policy.Decision{Violations: []policy.Violation{fixed, onARM}},
			Destinations: []Destination{{State: Promoted}}}, "OVERRIDDEN", "denied, but an override allows the image until 2026-12-04 00:00 UTC: 1 problem"},
		{"denied and failed", Report{Decision: &policy.Decision{Violations: []policy.Violation{fixed}}, Error: failed}, "FAILED",
			"the image is denied, and a later step failed: registry error: GET https://registry.example: 503"},
		{"unfinished", Report{Decision: &policy.Decision{Passed: true}, Error: failed}, "FAILED",
			"the image passed, but a later step failed: registry error: GET https://registry.example: 503"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := c.report.Verdict()
			if v.Word != c.word || v.Why != c.why {
				t.Errorf("%s: %s\nwant %s: %s", v.Word, v.Why, c.word, c.why)
			}
			if v.Outcome.IsFailure() != (v.Word == "FAILED") || v.Outcome.IsPass() != (v.Word == "PASSED" || v.Word == "OVERRIDDEN") {
				t.Errorf("outcome %s: failure %v, pass %v", v.Outcome, v.Outcome.IsFailure(), v.Outcome.IsPass())
			}
		})
	}
}
