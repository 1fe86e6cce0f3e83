package report

import (
	"strings"
	"testing"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// comparing returns a report with a baseline and three findings: a new one, a known one that blocks
// anyway, and a known one that only warns.
func comparing() Report {
	finding := func(id string) *evidence.Finding {
		return &evidence.Finding{ID: id, Severity: evidence.SeverityHigh, Package: evidence.Package{Name: "openssl", Version: "1", Type: "deb"}}
	}
	on := func(f *evidence.Finding) policy.Violation {
		return policy.Violation{Kind: policy.KindVulnerability, Rule: "r", Platform: "linux/amd64", Finding: f, Inherited: f.ID == "CVE-3"}
	}
	known := func(id string) evidence.BaselineFinding {
		return evidence.BaselineFinding{Platform: "linux/amd64", ID: id, Type: "deb", Name: "openssl"}
	}
	exploited := finding("CVE-2")
	exploited.KEV = &evidence.KEV{}
	return Report{
		Input: evidence.Input{
			Platforms: []evidence.Platform{{Platform: "linux/amd64"}},
			Baseline:  &evidence.Baseline{Digests: []string{"sha256:b"}, Findings: []evidence.BaselineFinding{known("CVE-2"), known("CVE-3"), known("CVE-4")}},
		},
		Decision: &policy.Decision{
			Violations: []policy.Violation{on(finding("CVE-1")), on(exploited)},
			Warnings:   []policy.Violation{on(finding("CVE-3"))},
		},
	}
}

func TestTextSeparatesNewAndInheritedFindings(t *testing.T) {
	text := render(t, Text, comparing())
	for _, want := range []string{
		"Baseline the approved image has 3 findings\n         sha256:b",
		"Compared with the approved image: 1 new finding, 1 not new",
		"WARNINGS 1: 1 high; 1 does not block because the approved image has it too (--details)\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for id, mark := range map[string]string{"CVE-1": "  new\n", "CVE-2": "  not new\n"} {
		for line := range strings.Lines(text) {
			if strings.Contains(line, id) && !strings.Contains(line, mark) {
				t.Errorf("no %q in %q", mark, line)
			}
		}
	}
	details := render(t, TextOptions{Details: true}.Text, comparing())
	if !strings.Contains(details, "Inherited from the approved image, so not blocking: 1 finding") || strings.Contains(details, "Warnings:") {
		t.Errorf("inherited findings are not listed once:\n%s", details)
	}
}

// TestNothingIsNewWithoutBaseline checks that the text report calls no finding new if the report
// has no baseline. Without a baseline, imagegate does not know which findings are new.
func TestNothingIsNewWithoutBaseline(t *testing.T) {
	r := comparing()
	r.Input.Baseline = nil
	if text := render(t, Text, r); strings.Contains(text, "new") || strings.Contains(text, "Baseline") {
		t.Errorf("it says what is new:\n%s", text)
	}
}

// TestFindingNewOnOnePlatformIsNew checks that a finding that the approved image has on one
// platform only is new on the other platforms.
func TestFindingNewOnOnePlatformIsNew(t *testing.T) {
	r := comparing()
	other := r.Decision.Violations[1]
	other.Platform = "linux/arm64"
	r.Decision.Violations = []policy.Violation{r.Decision.Violations[1], other}
	if text := render(t, Text, r); !strings.Contains(text, "1 new finding, 0 not new") {
		t.Errorf("it is not new:\n%s", text)
	}
}

func TestCautionsAreInTheText(t *testing.T) {
	r := comparing()
	r.Cautions = []string{"no finding is inherited \x1b[2J"}
	text := render(t, Text, r)
	if !strings.Contains(text, "caution: no finding is inherited") || strings.Contains(text, "\x1b") {
		t.Errorf("%q", text)
	}
}
