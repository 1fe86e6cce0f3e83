package formats

import (
	"strings"
	"testing"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

func TestGitLabIsValid(t *testing.T) {
	s := compileSchema(t, shared(t, "gitlab-container-scanning-15.2.4.schema.json"))
	reports := outcomes(t)
	reports["30000 findings"] = manyFindings()
	for name, r := range reports {
		data, err := write(t, row(t, "gitlab"), r)
		if r.Decision == nil && r.Error == nil {
			if err == nil {
				t.Errorf("%s: GitLab would close vulnerabilities that are still there", name)
			}
			continue
		}
		valid(t, s, name, data)
		got := decode[gitLabReport](t, data)
		if failed := r.Error != nil; (got.Scan.Status == "failure") != failed || got.Scan.Messages[0].Level == "fatal" != failed {
			t.Errorf("%s: %+v", name, got.Scan)
		}
		ids := map[string]bool{}
		for _, v := range got.Vulnerabilities {
			if ids[v.ID] {
				t.Errorf("%s: id %s is repeated", name, v.ID)
			}
			ids[v.ID] = true
			if strings.TrimSpace(v.Solution) == "" && v.Solution != "" {
				t.Errorf("%s: an empty solution", name)
			}
		}
	}
}

func TestGitLabEntry(t *testing.T) {
	f := finding("GHSA-aaaa-bbbb-cccc", evidence.SeverityNegligible, "lodash", "4.17.15", "")
	f.Aliases = []string{"OTHER-1", "CVE-2020-8203"}
	r := report.Report{Started: now, Input: image("linux/amd64"), Decision: &policy.Decision{Violations: []policy.Violation{{Kind: policy.KindVulnerability, Platform: "linux/amd64", Finding: &f}}}}
	data, err := write(t, row(t, "gitlab"), r)
	if err != nil {
		t.Fatal(err)
	}
	got := decode[gitLabReport](t, data)
	v := got.Vulnerabilities[0]
	var ids []string
	for _, i := range v.Identifiers {
		ids = append(ids, i.Type+":"+i.Value)
	}
	if text := strings.Join(ids, " "); text != "cve:CVE-2020-8203 ghsa:GHSA-aaaa-bbbb-cccc imagegate_vulnerability:OTHER-1" {
		t.Errorf("identifiers %s", text)
	}
	if v.Severity != "Info" || v.Location.System != "debian 12" || got.Scan.Start != "2026-11-30T12:00:00" || got.Version != "15.0.7" {
		t.Errorf("%+v %+v", v, got.Scan)
	}
	if strings.Contains(string(data), "solution") {
		t.Error("a solution without a fix")
	}
}

// TestCodeQualityFingerprintsAreUnique checks that all issues of a report have different
// fingerprints, because GitLab drops an issue with a known fingerprint as a duplicate.
func TestCodeQualityFingerprintsAreUnique(t *testing.T) {
	for name, r := range outcomes(t) {
		data, err := write(t, row(t, "codequality"), r)
		if err != nil {
			continue
		}
		seen := map[string]bool{}
		for _, i := range decode[[]codeIssue](t, data) {
			if seen[i.Fingerprint] || i.Location.Path == "" || strings.HasPrefix(i.Location.Path, "/") {
				t.Errorf("%s: %+v", name, i)
			}
			seen[i.Fingerprint] = true
		}
	}
}
