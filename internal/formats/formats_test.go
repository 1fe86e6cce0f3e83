package formats

import (
	"strings"
	"testing"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

func TestFormatNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range All {
		if f.Name == "" || f.Help == "" || f.MediaType == "" || f.Extension == "" || (f.Write == nil) == (f.Document == nil) || seen[f.Name] {
			t.Errorf("incomplete or repeated row %q", f.Name)
		}
		seen[f.Name] = true
		if found, ok := ByName(f.Name); !ok || found.Name != f.Name {
			t.Errorf("%q is not found", f.Name)
		}
	}
	if _, ok := ByName("xml"); ok {
		t.Error("an unknown format is found")
	}
}

// TestZeroFormatNeedsADecision checks that the zero value of Format needs a decision, so that a new
// format in All is strict unless its field Needs says otherwise.
func TestZeroFormatNeedsADecision(t *testing.T) {
	if (Format{}).Check(report.Report{}) == nil {
		t.Error("a report without a decision can be written")
	}
	if err := (Format{}).Check(report.Report{Decision: new(policy.Decision)}); err != nil {
		t.Error(err)
	}
}

// TestEveryFormatIsDocumented checks that docs/reports.md describes each format with an example.
func TestEveryFormatIsDocumented(t *testing.T) {
	text := string(read(t, "../../docs/reports.md"))
	for _, f := range All {
		if !strings.Contains(text, "`"+f.Name+"`") || !strings.Contains(text, "--output "+f.Name) && f.Name != "spdx" {
			t.Errorf("docs/reports.md has no example for %s", f.Name)
		}
	}
}

// TestEveryFormatHasTheCVE checks that every format contains the CVE id of a finding whose main id
// is another one, such as a GHSA, so that a search finds it.
func TestEveryFormatHasTheCVE(t *testing.T) {
	const cve = "CVE-2021-3918"
	f := finding("GHSA-896r-f27r-55mw", evidence.SeverityCritical, "json-schema", "0.2.3", "npm")
	f.Aliases = []string{cve}
	r := report.Report{Input: image("linux/amd64"), Decision: &policy.Decision{Violations: []policy.Violation{
		{Kind: policy.KindVulnerability, Rule: "critical", Platform: "linux/amd64", Finding: &f}}}}
	for _, format := range reportFormats() {
		data, err := write(t, format, r)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), cve) {
			t.Errorf("%s has no %s", format.Name, cve)
		}
	}
}
