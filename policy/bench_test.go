package policy

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
)

// large returns evidence and a policy larger than any in practice: 100,000 findings, 1,000
// exceptions, and 100 rules of every kind.
func large() (*Policy, evidence.Input) {
	p := &Policy{}
	for i := range 100 {
		r := Rule{Name: fmt.Sprint("rule ", i)}
		switch i % 5 {
		case 0:
			r.CVSS = 9.5
		case 1:
			r.EPSS.Percentile = 0.99
		case 2:
			for j := range 100 {
				r.IDs = append(r.IDs, fmt.Sprintf("CVE-2020-%d", 100*i+j))
			}
		case 3:
			r.Package = PackageCondition{Type: "npm", Name: fmt.Sprint("*-", i), PURL: fmt.Sprintf("pkg:npm/*-%d@1.*", i)}
		case 4:
			r.Severity, r.Grace = evidence.SeverityCritical, 30*ruleDay
		}
		p.Rules = append(p.Rules, r)
	}
	for i := range 1000 {
		p.Exceptions = append(p.Exceptions, Exception{
			ID: fmt.Sprint("CVE-2024-", i), Package: fmt.Sprintf("pkg:npm/name-%d", i), Image: "registry.example/*/app", Expires: now.Add(time.Duration(i+1) * time.Hour),
		})
	}
	p.Rules = append(p.Rules, Rule{Name: "rest", Severity: evidence.SeverityHigh})
	in := withFeeds()
	for i := range 100_000 {
		name := fmt.Sprint("name-", i%1000)
		in.Platforms[0].Findings = append(in.Platforms[0].Findings, evidence.Finding{
			ID: fmt.Sprint("CVE-2024-", i%20_000), Aliases: []string{fmt.Sprint("GHSA-", i)}, Severity: evidence.Severity(1 + i%5),
			Package: evidence.Package{Name: name, Version: "1.0", Type: "npm", PURL: "pkg:npm/" + name + "@1.0"},
			CVSS:    []evidence.CVSS{{Score: float64(i % 10)}}, EPSS: &evidence.EPSS{Score: 0.1, Percentile: float64(i%100) / 100},
			Fixes: []evidence.Fix{{Version: "2.0", Available: now.Add(-time.Duration(i%60) * ruleDay)}},
		})
	}
	return p, in
}

func BenchmarkEvaluate(b *testing.B) {
	p, in := large()
	b.ReportAllocs()
	for b.Loop() {
		p.Evaluate(in, now)
	}
}

// TestEvaluateIsBounded checks that evaluating the evidence of large allocates at most 500 MiB.
func TestEvaluateIsBounded(t *testing.T) {
	p, in := large()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d := p.Evaluate(in, now)
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 500<<20 {
		t.Errorf("%d MiB", taken>>20)
	}
	for name, n := range map[string]int{
		"violations": len(d.Violations), "warnings": len(d.Warnings), "excepted": len(d.Excepted), "allowed": len(d.Allowed),
	} {
		if n < 10 {
			t.Errorf("%d %s: the evidence is not of every kind", n, name)
		}
	}
}
