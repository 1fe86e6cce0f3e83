package report

import (
	"strings"
	"testing"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// TestPassOnANearlyEmptyDatabaseLooksLikeNoOther checks that the report always has the advisory
// counts, and that a warning follows the verdict if the counts are suspiciously low.
func TestPassOnANearlyEmptyDatabaseLooksLikeNoOther(t *testing.T) {
	passed := func(counted ...evidence.Advisories) Report {
		return Report{Decision: &policy.Decision{Passed: true}, Input: evidence.Input{Database: evidence.Database{Digest: "d", Advisories: counted}}}
	}
	full := passed(evidence.Advisories{Distribution: "debian 12", Count: 31204}, evidence.Advisories{Type: "npm", Count: 5120},
		evidence.Advisories{Type: "R-package", Count: 100_000, AtLeast: true, ByCPE: true})
	text := render(t, TextOptions{Width: 200}.Text, full)
	if want := "advisories: 31,204 for debian 12, 5,120 for npm packages, more than 100,000 by CPE for R-package packages\n"; !strings.Contains(text, want) {
		t.Errorf("no %q in:\n%s", want, text)
	}
	if strings.Contains(text, "few advisories") || strings.Contains(Summary(full), "few advisories") {
		t.Errorf("a caution about a full database:\n%s", text)
	}
	earlier := Report{Destinations: []Destination{{State: Verified}},
		Input: evidence.Input{Database: evidence.Database{Digest: "d", Advisories: []evidence.Advisories{{Type: "npm", Count: 1}}}}}
	if text := render(t, Text, earlier); !strings.Contains(text, "PASSED EARLIER") || !strings.Contains(text, "few advisories") {
		t.Errorf("no caution about an earlier decision:\n%s", text)
	}
	for name, r := range map[string]Report{
		"distribution": passed(evidence.Advisories{Distribution: "debian 12", Count: 99}, evidence.Advisories{Type: "npm", Count: 5120}),
		"type":         passed(evidence.Advisories{Distribution: "debian 12", Count: 31204}, evidence.Advisories{Type: "npm", Count: 9}),
	} {
		text := render(t, TextOptions{Width: 200}.Text, r)
		if !strings.Contains(text, "PASSED  (none)\n  Nothing blocks.\n  caution: the database has few advisories for this image, so a short list of findings means little: ") {
			t.Errorf("%s: no caution in:\n%s", name, text)
		}
		if !strings.Contains(Summary(r), "few advisories in the database") {
			t.Errorf("%s: %s", name, Summary(r))
		}
	}
}

// TestGraveFindingsWithoutARuleAreInTheVerdict checks that the verdict counts findings of high,
// critical and unknown severity that no rule matched. A policy whose rules match nothing must not
// look like an image without findings.
func TestGraveFindingsWithoutARuleAreInTheVerdict(t *testing.T) {
	allowed := func(severities ...evidence.Severity) policy.Decision {
		d := policy.Decision{Passed: true}
		for i, s := range severities {
			d.Allowed = append(d.Allowed, policy.Allowed{Platform: "linux/amd64", Finding: evidence.Finding{ID: "CVE-" + string(rune('a'+i)), Severity: s}})
		}
		return d
	}
	const (
		high, critical, unknown = evidence.SeverityHigh, evidence.SeverityCritical, evidence.SeverityUnknown
		medium                  = evidence.SeverityMedium
	)
	for want, d := range map[string]policy.Decision{
		"":                                   allowed(medium, evidence.SeverityLow),
		"3 high findings match no rule":      allowed(high, high, medium, high),
		"1 critical finding matches no rule": allowed(critical),
		"1 unknown, 2 critical and 1 high findings match no rule": allowed(high, critical, unknown, critical),
	} {
		r := Report{Decision: &d}
		verdict := "\nPASSED  (none)\n  Nothing blocks.\n"
		if want != "" {
			verdict += "  caution: " + want + "\n"
		}
		if text := render(t, Text, r); !strings.HasSuffix(text, verdict) {
			t.Errorf("%q is not the end of:\n%s", verdict, text)
		}
		if !strings.Contains(Summary(r), want) {
			t.Errorf("%q is not in %q", want, Summary(r))
		}
	}
}
