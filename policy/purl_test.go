package policy

import (
	"testing"

	"github.com/imagegate/imagegate/policy/evidence"
)

// TestPackageWithoutPURLDoesNotEscapeARule checks a finding whose package has no purl: a rule that
// names a package by purl applies to it, and an exception that names a package by purl does not.
func TestPackageWithoutPURLDoesNotEscapeARule(t *testing.T) {
	const rule = "version: 1\nrules:\n  - {name: lodash, package: {purl: \"pkg:npm/lodash\"}}\n"
	const exception = "exceptions: [{id: CVE-2021-23337, package: pkg:npm/lodash, reason: r, owner: o, expires: 2099-01-01}]\n"
	in := withFindings(evidence.Finding{ID: "CVE-2021-23337", Package: evidence.Package{Name: "lodash", Version: "4.17.20", Type: "npm"}, Severity: evidence.SeverityHigh})
	for _, yaml := range []string{rule, rule + exception} {
		if d := parsed(t, yaml).Evaluate(in, now); d.Passed {
			t.Errorf("passed with\n%s", yaml)
		}
	}
}
