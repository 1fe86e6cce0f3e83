package policy_test

import (
	"fmt"
	"time"

	"github.com/imagegate/imagegate/policy"
)

// Parse a policy, and evaluate evidence at a given time.
func Example() {
	p, err := policy.Parse("policy.yaml", []byte(`
version: 1
rules:
  - name: no critical
    severity: critical
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)
	lodash := policy.Package{Name: "lodash", Version: "4.17.20", Type: "npm", PURL: "pkg:npm/lodash@4.17.20"}
	evidence := policy.Input{
		Image: policy.Image{Reference: "registry.example/app:1", Repository: "registry.example/app", Digest: "sha256:1f2e"},
		Database: policy.Database{Built: now.Add(-time.Hour), Digest: "sha256:9a8b",
			Providers:  []policy.Provider{{Name: "github", Captured: now.Add(-time.Hour)}},
			Advisories: []policy.Advisories{{Type: "npm", Count: 4000}}},
		Platforms: []policy.Platform{{Platform: "linux/amd64", Digest: "sha256:3c4d",
			Packages: []policy.Package{lodash},
			Findings: []policy.Finding{{ID: "CVE-2021-23337", Severity: policy.SeverityCritical, Package: lodash}}}},
	}
	decision := policy.Set{p}.Evaluate(evidence, now)
	fmt.Println("passed:", decision.Passed)
	for _, v := range decision.Violations {
		fmt.Printf("%s, by the rule %q\n", v.Finding.ID, v.Rule)
	}
	// Output:
	// passed: false
	// CVE-2021-23337, by the rule "no critical"
}
