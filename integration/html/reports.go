package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

const rules = `version: 1
name: production
database: {maxAge: 5d}
sbom: {unknowns: block}
rules:
  - {name: exploited, kev: true}
  - {name: no critical, severity: critical}
  - {name: no high with a fix, severity: high, fix: available, grace: 14d}
  - {name: everything else, effect: warn, severity: low}
licenses:
  - {name: no network copyleft, deny: [AGPL-*, SSPL-1.0]}
image:
  - {name: not as root, notRoot: true}
vex: {accept: [not_affected], files: true}
exceptions:
  - {id: CVE-2021-23337, package: pkg:npm/lodash, reason: "the service never calls template()", owner: checkout-team@shop.example, ticket: SHOP-4211, expires: 2026-12-07}
  - {id: CVE-2022-23539, package: pkg:npm/jsonwebtoken, reason: "only HS256 keys are configured; the upgrade to 9.0.0 is planned", owner: identity-team@shop.example, ticket: SHOP-3987, expires: 2026-12-31}
  - {rule: sbom.unknowns, path: /srv/app/vendor/reports.jar, reason: "an encrypted archive that the vendor cannot open up", owner: checkout-team@shop.example, expires: 2027-01-15}
  - {id: CVE-2022-25883, package: pkg:npm/semver, reason: "versions come from our own lock file", owner: checkout-team@shop.example, expires: 2026-11-20}
`

// evaluated returns the report of a check of the evidence against the policy in text.
func evaluated(in evidence.Input, text string) report.Report {
	p, err := policy.Parse("policy.yaml", []byte(text))
	if err != nil {
		panic(err)
	}
	d := p.Evaluate(in, now)
	r := report.Report{
		Schema: report.Schema, Command: "check", Started: now.Add(-9 * time.Second), Finished: now, EvaluatedAt: now,
		Tool:   report.Tool{Name: "imagegate", Version: "1.0.0", Components: map[string]string{"syft": "v1.52.0", "grype": "v0.119.0", "cosign": "v2.6.5"}},
		Policy: report.Policy{File: "policy.yaml", Digest: digest(text)}, Input: in, Decision: &d, Destinations: []report.Destination{},
	}
	r.Remedies = report.Remedies(r)
	return r
}

// denied returns the report of a denied image with vulnerabilities of every kind.
func denied() report.Report {
	r := evaluated(input(), rules)
	r.Command = "promote"
	return r
}

// passing returns the evidence of input without everything that the policy blocks. Findings that
// only warn, are excepted or are not affected stay.
func passing() evidence.Input {
	in := input()
	for i := range in.Platforms {
		p := &in.Platforms[i]
		p.Config.User = "65532:65532"
		p.Packages = without(p.Packages, func(one evidence.Package) bool { return one.Name == "mongodb-memory-server" })
		p.Findings = without(p.Findings, func(f evidence.Finding) bool {
			aged := len(f.Fixes) > 0 && f.Fixes[0].Available.Before(day(-13))
			serious := f.Severity == critical || f.Severity == high
			return f.KEV != nil || f.Severity == unknown || serious && aged && f.ID != "GHSA-35jh-r3h4-6jhm" && f.ID != "GHSA-8cf7-32gw-wr33"
		})
	}
	return in
}

func without[T any](all []T, drop func(T) bool) []T {
	var out []T
	for _, one := range all {
		if !drop(one) {
			out = append(out, one)
		}
	}
	return out
}

func passed() report.Report { return evaluated(passing(), rules) }

// promoted returns the report of the promotion of a passing image.
func promoted() report.Report {
	r := evaluated(passing(), rules)
	r.Command = "promote"
	d := report.Destination{Reference: approved + ":2.14.0", Repository: approved, Tag: "2.14.0", Digest: r.Input.Image.Digest, State: report.Promoted,
		Signer: digest("key"), Decided: now, Blobs: 17, BlobsCopied: 9, BytesCopied: 41_000_000}
	for _, p := range r.Input.Platforms {
		for _, kind := range []string{"https://spdx.dev/Document", "https://cyclonedx.org/bom", "https://cosign.sigstore.dev/attestation/vuln/v1"} {
			d.Statements = append(d.Statements, report.Statement{PredicateType: kind, Platform: p.Platform, Subjects: []string{p.Digest}, Digest: digest(kind + p.Platform)})
		}
	}
	d.Statements = append(d.Statements, report.Statement{PredicateType: "https://slsa.dev/verification_summary/v1", Subjects: []string{d.Digest}, Digest: digest("decision")})
	r.Destinations = append(r.Destinations, d)
	return r
}

// failed returns the report of a run that made no decision because of an error.
func failed() report.Report {
	return report.Report{
		Schema: report.Schema, Command: "promote", Started: now.Add(-time.Minute), Finished: now, Tool: report.Tool{Name: "imagegate", Version: "1.0.0"},
		Policy: report.Policy{File: "policy.yaml", Digest: digest(rules)},
		Input:  evidence.Input{Image: evidence.Image{Reference: repository + ":2.14.0", Repository: repository}},
		Error: &report.Error{Class: report.ClassRegistry, Retryable: true,
			Message: "resolving staging.example/shop/checkout:2.14.0 in the staging registry:\nGET https://staging.example/v2/shop/checkout/manifests/2.14.0: 503 Service Unavailable"},
	}
}

// unfinished returns the report of an image that passed, but whose copy the approved registry
// refused.
func unfinished() report.Report {
	r := evaluated(passing(), rules)
	r.Command = "promote"
	r.Error = &report.Error{Class: report.ClassRegistry, Message: "copying layer sha256:2689dcee3f61 to the approved registry: 401 Unauthorized"}
	return r
}

// overridden returns the report of a denied image that an override let through.
func overridden() report.Report {
	r := denied()
	o := &policy.GrantedOverride{Override: policy.Override{Reason: "fixes the payment outage; the upgrade follows", Approver: "oncall@shop.example", Expires: now.Add(20 * time.Hour)}, Granted: now}
	for _, v := range r.Decision.Violations {
		o.Violations = append(o.Violations, policy.Overridden{Kind: v.Kind, Rule: v.Rule, Platform: v.Platform})
	}
	r.Override = o
	r.Destinations = promoted().Destinations
	return r
}

// verified returns the report of "imagegate verify" on the promoted image.
func verified(state report.State) report.Report {
	r := promoted()
	r.Command, r.Decision, r.Remedies, r.EvaluatedAt = "verify", nil, nil, time.Time{}
	r.Input = evidence.Input{Image: evidence.Image{Reference: approved + ":2.14.0", Repository: approved, Digest: r.Input.Image.Digest}}
	r.Destinations[0].State, r.Destinations[0].Decided = state, now.Add(-26*time.Hour)
	return r
}

// large returns the report of an image with n findings in two thousand packages.
func large(n int) report.Report {
	in := input()
	in.Platforms = in.Platforms[:1]
	in.Baseline, in.VEX = nil, nil
	p := &in.Platforms[0]
	p.Packages, p.Findings = nil, nil
	kinds := []string{"npm", "deb"}
	for i := range 2000 {
		one := pkg{name: fmt.Sprintf("package-%04d", i), version: fmt.Sprintf("%d.%d.%d", i%7, i%11, i%13), kind: kinds[i%2], license: "MIT", base: i%3 == 0}
		p.Packages = append(p.Packages, one.found(p.Platform, i))
	}
	for i := range n {
		v := vulnerability{id: fmt.Sprintf("CVE-%d-%05d", 2015+i%12, i), severity: evidence.Severity(i % 6), epss: float64(i%997) / 1000, cvss: float64(i%100) / 10, fixed: 30,
			text: fmt.Sprintf("A crafted request to component %d can exhaust the memory of the process, because the length of a field is not limited.", i%5000)}
		if i%4 != 0 {
			v.fix = fmt.Sprintf("%d.%d.%d", 8+i%3, i%11, i%17)
		}
		p.Findings = append(p.Findings, v.finding(p.Packages[i%len(p.Packages)]))
	}
	return evaluated(in, strings.Split(rules, "exceptions:")[0])
}

// hostile returns a report with markup, scripts, terminal sequences and direction marks in every
// text that comes from an image, a registry or a file.
func hostile() report.Report {
	const text = "</script><img src=x onerror=alert(1)><!--<script>\u202e\u2028\x1b[31m\x00'\"`${alert(1)}{{.}}</style>"
	in := input()
	in.Image.Reference, in.Image.Repository = repository+":"+text, repository
	for i := range in.Platforms {
		p := &in.Platforms[i]
		p.Distribution.Name = text
		for n := range p.Findings {
			f := &p.Findings[n]
			f.Package.Name = text
			f.Description = strings.Repeat("A", 1<<20)
			f.URL = "javascript:alert(1)"
			f.Aliases = []string{text}
			if n%7 == 0 {
				f.Package.Version = strings.Repeat("9", 1<<20)
			}
			f.Package.Found = []evidence.Location{{Path: "/" + text, Layer: layer(p.Platform, 5)}}
		}
		for n := range p.Packages {
			p.Packages[n].Licenses = []string{text}
		}
		p.Unknowns[0].Path, p.Unknowns[0].Reason = text, text
	}
	r := evaluated(in, rules)
	r.Cautions = []string{text}
	return r
}
