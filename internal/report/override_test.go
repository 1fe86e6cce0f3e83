package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// overridden returns the report of a promotion whose denial was overridden.
func overridden() Report {
	violation := policy.Violation{Kind: policy.KindVulnerability, Rule: "r", Platform: "linux/amd64",
		Finding: &evidence.Finding{ID: "CVE-1", Package: evidence.Package{Name: "openssl", Version: "1", Type: "deb"}}}
	end := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	o := policy.Override{Reason: "late", Approver: "oncall@example.com", Expires: end}
	d := policy.Decision{Violations: []policy.Violation{violation}}
	granted := d.Grant(o, end.Add(-2*time.Hour))
	return Report{Finished: end.Add(-time.Hour), Decision: &d, Override: &granted,
		Destinations: []Destination{{Reference: "registry.example/app:1", State: Promoted}}}
}

// TestOverriddenDenialIsNotAPass checks that neither the text report nor the summary of an
// overridden denial reads as a pass, for promote as well as for verify.
func TestOverriddenDenialIsNotAPass(t *testing.T) {
	promoted := overridden()
	verified := overridden()
	verified.Decision, verified.Destinations[0].State = nil, Verified
	repeated := overridden()
	repeated.Decision, repeated.Destinations[0].State = nil, AlreadyPromoted
	for name, r := range map[string]Report{"promoted": promoted, "verified": verified, "repeated": repeated} {
		if got := r.Outcome(); got != Overridden {
			t.Errorf("%s: outcome %d", name, got)
		}
		text := render(t, Text, r)
		for _, want := range []string{"\nOVERRIDDEN  ", "Denied, but an override allows the image until 2026-11-23 12:00 UTC: 1 ", "reason: late", "oncall@example.com",
			"expires 2026-11-23 12:00 UTC, in 1 hour", "CVE-1", " registry.example/app:1.\n"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", name, want, text)
			}
		}
		if strings.Contains(text, "PASSED") || strings.Contains(Summary(r), "passed") || !strings.Contains(Summary(r), "override") {
			t.Errorf("%s: it reads as a pass:\n%s\n%s", name, Summary(r), text)
		}
	}
}

// TestOverriddenImageVerifiesWithAFlag checks that the verify command that the report suggests has
// --allow-override.
func TestOverriddenImageVerifiesWithAFlag(t *testing.T) {
	options := TextOptions{CommandLine: CommandLine{Verify: []string{"--key", "cosign.pub"}}}
	const want = "  Check: imagegate verify registry.example/app:1 --key cosign.pub --allow-override\n"
	if text := render(t, options.Text, overridden()); !strings.HasSuffix(text, want) {
		t.Errorf("%q is not the end of:\n%s", want, text)
	}
}

// TestOverrideWithoutPromotionHasNoEffect checks the outcome of an override that promoted nothing.
// Without a destination, it is a denial. After a failed promotion, it is a failure. The exit codes
// agree.
func TestOverrideWithoutPromotionHasNoEffect(t *testing.T) {
	failed, nowhere := overridden(), overridden()
	failed.Error, nowhere.Destinations = &Error{Class: ClassRegistry, Message: "x"}, nil
	if got := nowhere.Outcome(); got != Denied {
		t.Errorf("nowhere: outcome %s", got)
	}
	if got := failed.Outcome(); got != Unfinished || !failed.Denies() {
		t.Errorf("failed: outcome %s, denies %v", got, failed.Denies())
	}
	missing := overridden()
	missing.Decision = nil // and the destination was not read back
	if got := missing.Outcome(); got != Undecided {
		t.Errorf("without a decision: outcome %d", got)
	}
}

func TestOverriddenPassIsRefused(t *testing.T) {
	r := overridden()
	r.Decision = &policy.Decision{Passed: true}
	var out bytes.Buffer
	if err := JSON(&out, r); err == nil || out.Len() > 0 {
		t.Errorf("%v, %q", err, out.String())
	}
}

// TestOverrideIsCountedOnce checks that an overridden violation on two platforms counts once,
// whether this run or an earlier run made the decision.
func TestOverrideIsCountedOnce(t *testing.T) {
	r := overridden()
	violation := func(platform string) policy.Violation {
		_, arch, _ := strings.Cut(platform, "/")
		return policy.Violation{Kind: policy.KindVulnerability, Rule: "r", Platform: platform, Finding: &evidence.Finding{ID: "CVE-1",
			Package: evidence.Package{Name: "openssl", Version: "1", Type: "deb", PURL: "pkg:deb/debian/openssl@1?arch=" + arch}}}
	}
	r.Decision.Violations = []policy.Violation{violation("linux/amd64"), violation("linux/arm64")}
	granted := r.Decision.Grant(r.Override.Override, r.Override.Granted)
	r.Override = &granted
	if got := Summary(r); !strings.Contains(got, "2026-11-23 12:00 UTC: 1 problem") {
		t.Errorf("with a decision: %s", got)
	}
	r.Decision, r.Destinations[0].State = nil, Verified
	if got := Summary(r); !strings.Contains(got, "2026-11-23 12:00 UTC: 1 violation") {
		t.Errorf("without a decision: %s", got)
	}
	text := render(t, Text, r)
	if strings.Count(text, "CVE-1 in ") != 1 || !strings.Contains(text, "linux/amd64, linux/arm64") || !strings.Contains(text, "covers 1 violation\n") {
		t.Error(text)
	}
}
