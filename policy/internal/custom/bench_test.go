package custom

import (
	"fmt"
	"testing"

	"github.com/imagegate/imagegate/policy/evidence"
)

// BenchmarkCustomFindings evaluates one rule of each kind for 100,000 findings. Ten rules would
// take ten times as long.
func BenchmarkCustomFindings(b *testing.B) {
	in := &evidence.Input{Platforms: []evidence.Platform{{Platform: "linux/amd64"}}}
	p := &in.Platforms[0]
	for i := range 100_000 {
		p.Findings = append(p.Findings, evidence.Finding{
			ID: fmt.Sprintf("CVE-2026-%d", i), Severity: evidence.Severity(i % 6), EPSS: &evidence.EPSS{Score: float64(i%100) / 100},
			Package: evidence.Package{Name: fmt.Sprintf("package%d", i), Version: "1.2.3", Type: "deb"}, FixState: evidence.FixAvailable,
		})
	}
	for _, bench := range []struct{ name, when string }{
		{"text", `finding.package.type == "npm" && finding.id.startsWith("CVE-")`},
		{"severity", `finding.severity >= severity.high && finding.package.name == "openssl"`},
		{"score", `has(finding.epss) && finding.epss.score > 0.5 && finding.severity >= severity.medium`},
		{"list", `finding.aliases.exists(a, a.Matches("^GHSA-")) || finding.fixes.size() > 3`},
	} {
		r := compiled(b, Finding, bench.when, "")
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				for i := range p.Findings {
					if _, _, err := r.Matches(in, p, &p.Findings[i], now); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
