package policy_test

import (
	"fmt"
	"time"

	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
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
	lodash := evidence.Package{Name: "lodash", Version: "4.17.20", Type: "npm", PURL: "pkg:npm/lodash@4.17.20"}
	in := evidence.Input{
		Image: evidence.Image{Reference: "registry.example/app:1", Repository: "registry.example/app", Digest: "sha256:1f2e"},
		Database: evidence.Database{Built: now.Add(-time.Hour), Digest: "sha256:9a8b",
			Providers:  []evidence.Provider{{Name: "github", Captured: now.Add(-time.Hour)}},
			Advisories: []evidence.Advisories{{Type: "npm", Count: 4000}}},
		Platforms: []evidence.Platform{{Platform: "linux/amd64", Digest: "sha256:3c4d",
			Packages: []evidence.Package{lodash},
			Findings: []evidence.Finding{{ID: "CVE-2021-23337", Severity: evidence.SeverityCritical, Package: lodash}}}},
	}
	decision := policy.Set{p}.Evaluate(in, now)
	fmt.Println("passed:", decision.Passed)
	for _, v := range decision.Violations {
		fmt.Printf("%s, by the rule %q\n", v.Finding.ID, v.Rule)
	}
	// Output:
	// passed: false
	// CVE-2021-23337, by the rule "no critical"
}
