package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/builtin"
)

// generator makes small policies and inputs from few different values, so that rules often match.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 0))} }

func pick[T any](g generator, of ...T) T { return of[g.IntN(len(of))] }

func repeat[T any](g generator, most int, one func() T) []T {
	var out []T
	for range g.IntN(most + 1) {
		out = append(out, one())
	}
	return out
}

// instant returns a time near now, and often now itself.
func (g generator) instant() time.Time {
	return now.Add(time.Duration(g.IntN(7)-3) * time.Hour)
}

func (g generator) severity() evidence.Severity {
	return evidence.Severity(g.IntN(int(evidence.SeverityCritical) + 1))
}
func (g generator) effect() Effect     { return pick(g, Block, Warn) }
func (g generator) optIn() OptInEffect { return pick(g, OptInWarn, OptInBlock) }

func (g generator) coverageEffects() CoverageEffects {
	return CoverageEffects{Distribution: g.effect(), PackageType: g.effect(), Version: g.effect(), FirstParty: g.optIn()}
}

func (g generator) unknownEffects() UnknownEffects {
	return UnknownEffects{PackageDatabase: g.effect(), Archive: g.effect(), File: g.effect(), TestData: g.optIn()}
}

func (g generator) id() string { return pick(g, "CVE-1", "CVE-2", "GHSA-1", "cve-1") }

func (g generator) set() Set {
	s := Set{g.policy()}
	if g.IntN(4) == 0 {
		s = append(s, g.policy())
	}
	return s
}

func (g generator) policy() *Policy {
	p := &Policy{
		Database:     DatabaseRule{MaxAge: pick(g, 0, time.Hour, 4*time.Hour), MinAdvisories: pick(g, 0, 0, 1, 2)},
		Distribution: DistributionRule{EndOfLife: g.effect(), NotCovered: g.coverageEffects()},
		SBOM:         SBOMRule{Unknowns: g.unknownEffects(), MinPackages: g.IntN(2)},
		Rules: repeat(g, 3, func() Rule {
			return g.rule()
		}),
	}
	if g.IntN(4) == 0 {
		p.ExceptionsMaxLifetime = 2 * time.Hour
	}
	for i := range g.IntN(5) {
		p.Exceptions = append(p.Exceptions, Exception{
			Position: at(i+1, 1), ID: g.id(), Expires: g.instant(), Reason: "r", Owner: "o",
			Package: pick(g, "", "pkg:npm/a", "pkg:npm/*@1"), Image: pick(g, "", "registry.example/*", "elsewhere/*"),
		})
	}
	p.Exceptions = append(p.Exceptions, repeat(g, 3, func() Exception {
		return Exception{
			Position: at(50+g.IntN(10), 1), Rule: pick(g, builtin.Excepted...), Expires: g.instant(), Reason: "r", Owner: "o",
			Package: pick(g, "", "", "pkg:npm/*", "pkg:deb/*"), Path: pick(g, "", "", "/a/*", "**"),
		}
	})...)
	p.Custom = repeat(g, 2, func() CustomRule {
		r := pick(g, customRules()...)
		r.Name, r.Effect = pick(g, "a", "d"), g.effect()
		return r
	})
	p.Signers = []SignerRule{{Name: "a", Key: testKey}, {Name: "b", Issuer: "i", Subject: "b*"}}
	p.Baseline = pick(g, InheritNothing, InheritApproved)
	p.VEX = VEXRule{
		Accept: pick(g, nil, []evidence.VEXStatus{evidence.VEXNotAffected}, []evidence.VEXStatus{evidence.VEXNotAffected, evidence.VEXFixed}), Files: pick(g, false, true, true),
		Justifications: pick(g, nil, []string{"component_not_present"}), Signers: pick(g, nil, []string{"a", "b"}, []string{"a", "b"}),
	}
	for i := range g.IntN(3) {
		s := Scope{Position: at(100+10*i, 1), Match: pick(g, []string{"*"}, []string{"elsewhere/*"}), Keys: []string{"rules", "exceptions", "sbom.unknowns"}}
		s.Policy.Rules = repeat(g, 2, g.rule)
		s.Policy.SBOM.Unknowns = g.unknownEffects()
		s.Policy.Exceptions = repeat(g, 1, func() Exception {
			return Exception{Position: at(101+10*i, 1), ID: g.id(), Expires: g.instant(), Reason: "r", Owner: "o"}
		})
		p.Images = append(p.Images, s)
	}
	return p
}

// customRules returns random rules that are compiled once. Some cannot be evaluated for some
// findings. The conditions of some are false for a worse finding.
var customRules = sync.OnceValue(func() []CustomRule {
	rules, err := parseCustom(`custom:
  - {name: a, each: finding, when: finding.severity == severity.low}
  - {name: b, each: finding, when: "!has(finding.kev)"}
  - {name: c, each: finding, when: finding.epss.score > 0.3 && finding.package.name == "a"}
  - {name: d, each: finding, when: finding.package.name == "a" && finding.severity < severity.high, message: 'string(finding.kev.added)'}
  - {name: e, each: finding, when: finding.id == "CVE-1" && finding.published > now}
  - {name: f, each: package, when: pkg.name == "b"}
  - {name: g, each: platform, when: platform.distribution.id != "debian"}
`)
	if err != nil {
		panic(err)
	}
	return rules
})

// rule returns a random rule. Most rules have at most one condition, because a rule with more
// conditions would rarely match.
func (g generator) rule() Rule {
	r := Rule{Name: pick(g, "a", "b", "c"), Effect: g.effect()}
	switch g.IntN(8) {
	case 0:
		r.Fix = pick(g, FixableYes, FixableNo)
	case 1:
		r.KEV = true
	case 2:
		r.EPSS = EPSSThreshold{Score: pick(g, 0, 0.5), Percentile: pick(g, 0, 0.5)}
	case 3:
		r.CVSS = 5
	case 4:
		r.Package = PackageCondition{Type: pick(g, "", "npm"), Name: pick(g, "", "a"), PURL: pick(g, "", "pkg:npm/*@1")}
	case 5:
		r.IDs = repeat(g, 2, g.id)
	case 6:
		r.Severity = g.severity()
	}
	if r.Effect == Block && g.IntN(3) == 0 {
		r.Grace = pick(g, time.Hour, 2*time.Hour)
	}
	return r
}

func (g generator) finding() evidence.Finding {
	name, version := pick(g, "a", "b"), pick(g, "1", "2")
	f := evidence.Finding{
		ID: g.id(), Aliases: repeat(g, 2, g.id), Severity: g.severity(),
		FixState:  pick(g, "", evidence.FixUnknown, evidence.FixAvailable, evidence.FixNone, evidence.FixWont),
		Fixes:     repeat(g, 2, func() evidence.Fix { return evidence.Fix{Version: "2", Available: pick(g, time.Time{}, g.instant())} }),
		Published: pick(g, time.Time{}, g.instant()),
		CVSS:      repeat(g, 2, func() evidence.CVSS { return evidence.CVSS{Score: pick(g, 1.0, 5, 11)} }),
		Package:   evidence.Package{Name: name, Version: version, Type: "npm", PURL: fmt.Sprintf("pkg:npm/%s@%s", name, version)},
		Namespace: fmt.Sprint(g.Uint64()), // makes findings distinct
	}
	if g.IntN(2) == 0 {
		f.EPSS = &evidence.EPSS{Score: pick(g, 0.1, 0.5), Percentile: pick(g, 0.1, 0.5)}
	}
	if g.IntN(6) == 0 {
		f.KEV = &evidence.KEV{Added: now}
	}
	return f
}

func (g generator) unknown() evidence.Unknown {
	return evidence.Unknown{
		Location: evidence.Location{Path: pick(g, "", "/a/b", "/c")}, Reason: "r", Package: pick(g, "", "pkg:npm/a"),
		Class: pick(g, "", evidence.UnknownPackageDatabase, evidence.UnknownArchive, evidence.UnknownFile, evidence.UnknownTestData, evidence.UnknownOwned),
	}
}

func (g generator) unmatched() evidence.Unmatched {
	reason := pick(g, evidence.NoDistribution, evidence.TypeNotInDatabase, evidence.VersionUnknown, evidence.MainModule, evidence.FirstParty, evidence.PartOfPackage, evidence.OwnedByDistribution)
	u := evidence.Unmatched{Reason: reason, Type: pick(g, "npm", "deb")}
	if reason != evidence.NoDistribution && reason != evidence.TypeNotInDatabase {
		u.Package = &evidence.Package{Name: "a", Type: "npm", PURL: "pkg:npm/a", Found: []evidence.Location{{Path: pick(g, "/a/b", "/c")}}}
	}
	return u
}

// input returns random evidence that mostly passes. If most evidence was denied for several
// reasons, a single change could never turn a denial into a pass.
func (g generator) input() evidence.Input {
	in := withFeeds()
	in.Database.Built = now.Add(-time.Minute)
	for i := range in.Database.Providers {
		in.Database.Providers[i].Captured = now.Add(-time.Minute)
	}
	if g.IntN(4) == 0 {
		in.Database.Built = g.instant()
		in.Database.Providers = repeat(g, 2, func() evidence.Provider { return evidence.Provider{Name: pick(g, "a", "b"), Captured: g.instant()} })
	}
	if g.IntN(8) == 0 {
		in.Database.Advisories = repeat(g, 2, func() evidence.Advisories { return evidence.Advisories{Type: pick(g, "npm", "a"), Count: g.IntN(3)} })
	}
	in.Platforms = nil
	for i := range 1 + g.IntN(2) {
		p := cleanInput().Platforms[0]
		p.Platform = fmt.Sprint("linux/", i)
		p.Findings = repeat(g, 4, g.finding)
		if g.IntN(4) == 0 {
			p.Distribution.EndOfLife = g.instant()
			p.Unknowns = repeat(g, 2, g.unknown)
			p.Unmatched = repeat(g, 2, g.unmatched)
			p.Packages = repeat(g, 1, func() evidence.Package { return evidence.Package{Name: "a"} })
		}
		in.Platforms = append(in.Platforms, p)
	}
	if g.IntN(2) == 0 {
		in.Baseline = &evidence.Baseline{Findings: repeat(g, 3, func() evidence.BaselineFinding {
			return evidence.BaselineFinding{Platform: pick(g, "", "linux/0"), ID: g.id(), Aliases: repeat(g, 1, g.id), Type: "npm", Name: pick(g, "a", "b")}
		})}
	}
	if g.IntN(4) > 0 {
		in.VEX = repeat(g, 4, func() evidence.VEXStatement { return g.statement(&in) })
	}
	return in
}

// signer returns nil, a signer that policies name, or another signer.
func (g generator) signer() *evidence.Signer {
	return pick(g, nil, nil, &evidence.Signer{Key: testFingerprint}, &evidence.Signer{Issuer: "i", Subject: "b"}, &evidence.Signer{Issuer: "i", Subject: "c"})
}

func (g generator) statement(in *evidence.Input) evidence.VEXStatement {
	product := func() string {
		return pick(g, "pkg:npm/a", "pkg:npm/b@1", "pkg:npm/b", in.Image.Digest, in.Platforms[0].Digest)
	}
	return evidence.VEXStatement{
		ID: g.id(), Aliases: repeat(g, 1, g.id), Signer: g.signer(), Timestamp: pick(g, time.Time{}, g.instant(), g.instant()),
		Status:        pick(g, evidence.VEXNotAffected, evidence.VEXNotAffected, evidence.VEXFixed, evidence.VEXAffected, evidence.VEXUnderInvestigation),
		Justification: pick(g, "", "component_not_present"),
		Products:      append(repeat(g, 1, product), product()),
		Subcomponents: repeat(g, 1, func() string { return pick(g, "pkg:npm/a", "pkg:npm/b@1") }),
	}
}

// FuzzEvaluateMonotone makes a policy and an input from a seed, and checks every property that
// Evaluate promises.
func FuzzEvaluateMonotone(f *testing.F) {
	for seed := range uint64(2000) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		g := newGenerator(seed)
		p, in := g.set(), g.input()
		setBefore, inputBefore := asJSON(t, p), asJSON(t, in)
		d := p.Evaluate(in, now)
		if asJSON(t, p) != setBefore || asJSON(t, in) != inputBefore {
			t.Fatal("the arguments have changed")
		}

		checkDecision(t, in, d)
		checkOrder(t, g, p, in, d)
		checkUntil(t, p, in, d)
		checkMonotone(t, g, p, in, d)
		checkSet(t, p, in, d)
	})
}

// checkDecision checks that every finding is in exactly one list, and that the outcome agrees with
// the violations.
func checkDecision(t *testing.T, in evidence.Input, d Decision) {
	t.Helper()
	if d.Passed != (len(d.Violations) == 0) {
		t.Errorf("passed: %v with violations %+v", d.Passed, d.Violations)
	}
	if d.Violations == nil || d.Warnings == nil || d.Excepted == nil || d.NotAffected == nil || d.Allowed == nil {
		t.Errorf("a nil list: %+v", d)
	}
	var want, got []string
	name := func(platform string, f evidence.Finding) string { return platform + " " + asJSON(t, f) }
	for _, p := range in.Platforms {
		for _, f := range p.Findings {
			want = append(want, name(p.Platform, f))
		}
	}
	for _, v := range slices.Concat(d.Violations, d.Warnings) {
		if v.Finding != nil {
			got = append(got, name(v.Platform, *v.Finding))
		}
	}
	for _, e := range d.Excepted {
		if e.Finding != nil {
			got = append(got, name(e.Platform, *e.Finding))
		}
	}
	for _, n := range d.NotAffected {
		got = append(got, name(n.Platform, *n.Finding))
	}
	for _, a := range d.Allowed {
		got = append(got, name(a.Platform, a.Finding))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings: %s", diff)
	}
}

// checkOrder checks that the same evidence in another order gives the same decision.
func checkOrder(t *testing.T, g generator, p Set, in evidence.Input, d Decision) {
	t.Helper()
	in = copyInput(in)
	shuffle(g, in.Platforms)
	shuffle(g, in.Database.Providers)
	shuffle(g, in.Database.Advisories)
	in.VEX = slices.Clone(in.VEX)
	shuffle(g, in.VEX)
	for i := range in.Platforms {
		shuffle(g, in.Platforms[i].Findings)
	}
	if diff := cmp.Diff(d, p.Evaluate(in, now)); diff != "" {
		t.Errorf("in another order: %s", diff)
	}
}

func shuffle[T any](g generator, s []T) {
	g.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}

// checkUntil checks that the decision does not change before Until, to the nanosecond, and that it
// never changes if Until is zero.
func checkUntil(t *testing.T, p Set, in evidence.Input, d Decision) {
	t.Helper()
	readsNow := func(p *Policy) bool {
		return slices.ContainsFunc(p.Custom, func(r CustomRule) bool { return r.compiled().UsesNow() })
	}
	if slices.ContainsFunc(p, readsNow) {
		if !d.TimeDependent {
			t.Error("a rule reads the clock")
		}
		return
	}
	last := d.Until.Add(-1)
	if d.Until.IsZero() {
		last = now.AddDate(100, 0, 0)
	} else if !d.Until.After(now) {
		t.Errorf("until %v, which is not after %v", d.Until, now)
	}
	for _, later := range []time.Time{last, now.Add(last.Sub(now) / 2)} {
		if diff := cmp.Diff(d, p.Evaluate(in, later)); diff != "" {
			t.Errorf("at %v, before %v: %s", later, d.Until, diff)
		}
	}
}

func checkMonotone(t *testing.T, g generator, p Set, in evidence.Input, d Decision) {
	t.Helper()
	stricter := func(what string, p Set, in evidence.Input) {
		t.Helper()
		if !d.Passed && p.Evaluate(in, now).Passed {
			t.Errorf("%s turned a denial into a pass", what)
		}
	}

	more := copyInput(in)
	platform := &more.Platforms[g.IntN(len(more.Platforms))]
	platform.Findings = slices.Insert(platform.Findings, g.IntN(len(platform.Findings)+1), g.finding())
	stricter("adding a finding", p, more)

	for i := range in.Database.Advisories {
		fewer := copyInput(in)
		fewer.Database.Advisories[i].Count = 0
		stricter("losing advisories", p, fewer)
	}
	none := in
	none.Database.Advisories = nil
	stricter("losing all advisories", p, none)
	for i := range p {
		more := *p[i]
		more.Database.MinAdvisories++
		stricter("asking for more advisories", with(p, i, &more), in)
	}
	for i := range in.Platforms {
		for j := range in.Platforms[i].Findings {
			raised := copyInput(in)
			f := &raised.Platforms[i].Findings[j]
			switch f.Severity {
			case evidence.SeverityUnknown: // unknown ranks above all other severities
				continue
			case evidence.SeverityCritical:
				f.Severity = evidence.SeverityUnknown
			default:
				f.Severity++
			}
			stricter("raising a severity", p, raised)
		}
	}
	for i := range in.Platforms {
		for j := range in.Platforms[i].Findings {
			listed := copyInput(in)
			listed.Platforms[i].Findings[j].KEV = &evidence.KEV{}
			stricter("an exploit", p, listed)

			unknown := copyInput(in)
			unknown.Platforms[i].Findings[j].EPSS, unknown.Platforms[i].Findings[j].CVSS = nil, nil
			stricter("losing the scores", p, unknown)
		}
	}

	for i, s := range in.VEX {
		if s.Status == evidence.VEXNotAffected && s.Justification == "component_not_present" {
			fewer := in
			fewer.VEX = slices.Delete(slices.Clone(in.VEX), i, i+1)
			stricter("removing a statement that every policy accepts", p, fewer)
		}
	}
	for i := range in.Platforms {
		changed := copyInput(in)
		to, from := &changed.Platforms[i], &in.Platforms[i]
		to.Unmatched, to.Unknowns = append(slices.Clone(from.Unmatched), g.unmatched()), append(slices.Clone(from.Unknowns), g.unknown())
		stricter("adding a gap", p, changed)
		for j := range from.Unknowns {
			to.Unmatched, to.Unknowns = from.Unmatched, slices.Clone(from.Unknowns)
			to.Unknowns[j].Package = ""
			stricter("taking the package of a file away", p, changed)
		}
	}
	affected := in
	affected.VEX = append(slices.Clone(in.VEX), g.statement(&in))
	affected.VEX[len(in.VEX)].Status = pick(g, evidence.VEXAffected, evidence.VEXUnderInvestigation, "")
	stricter("adding a statement that takes nothing away", p, affected)

	if in.Baseline != nil {
		for i := range in.Baseline.Findings {
			fewer := in
			fewer.Baseline = &evidence.Baseline{Findings: slices.Delete(slices.Clone(in.Baseline.Findings), i, i+1)}
			stricter("removing a finding of the baseline", p, fewer)
		}
		fresh := in
		fresh.Baseline = nil
		stricter("removing the baseline", p, fresh)
	}

	if p.Validate(now) != nil {
		return // an exception exceeds maxLifetime, so removing it may let the image pass
	}
	for i := range p {
		for j := range p[i].Exceptions {
			fewer := *p[i]
			fewer.Exceptions = slices.Delete(slices.Clone(fewer.Exceptions), j, j+1)
			stricter("removing an exception", with(p, i, &fewer), in)

			shorter := *p[i]
			shorter.Exceptions = slices.Clone(shorter.Exceptions)
			shorter.Exceptions[j].Expires = now
			stricter("expiring an exception", with(p, i, &shorter), in)
		}
	}
}

// with returns a copy of the set with p as the policy at index i.
func with(s Set, i int, p *Policy) Set {
	s = slices.Clone(s)
	s[i] = p
	return s
}

// checkSet checks that the set passes an image only if each of its policies does.
func checkSet(t *testing.T, s Set, in evidence.Input, d Decision) {
	t.Helper()
	want := true
	for _, p := range s {
		want = want && p.Evaluate(in, now).Passed
	}
	if d.Passed != want {
		t.Errorf("passed: %v, want %v", d.Passed, want)
	}
}

// copyInput copies the parts of an input that these tests change.
func copyInput(in evidence.Input) evidence.Input {
	in.Database.Providers = slices.Clone(in.Database.Providers)
	in.Database.Advisories = slices.Clone(in.Database.Advisories)
	in.Platforms = slices.Clone(in.Platforms)
	for i := range in.Platforms {
		in.Platforms[i].Findings = slices.Clone(in.Platforms[i].Findings)
	}
	return in
}

// TestGeneratorMeets checks that the generated policies and inputs reach every kind of outcome. If
// all decisions were denials, for example, the checks would prove nothing.
func TestGeneratorMeets(t *testing.T) {
	outcomes := map[string]int{}
	for seed := range uint64(2000) {
		g := newGenerator(seed)
		p, in := g.set(), g.input()
		d := p.Evaluate(in, now)
		outcomes[fmt.Sprint("passed ", d.Passed)]++
		outcomes["excepted"] += len(d.Excepted)
		outcomes["not affected"] += len(d.NotAffected)
		outcomes["allowed"] += len(d.Allowed)
		for _, v := range d.Violations {
			outcomes["violation "+string(v.Kind)]++
			outcomes["expired"] += len(v.Expired)
		}
		for _, v := range d.Warnings {
			outcomes["warning "+string(v.Kind)]++
			if !v.Blocks.IsZero() {
				outcomes["in grace"]++
			}
			if v.Inherited {
				outcomes["inherited"]++
			}
		}
	}
	for _, outcome := range []string{
		"passed true", "passed false", "excepted", "allowed", "expired", "in grace", "not affected", "inherited",
		"violation vulnerability", "violation database", "violation distribution", "violation coverage", "violation sbom", "violation evidence", "violation exception",
		"warning vulnerability", "warning distribution", "warning coverage", "warning sbom", "warning exception",
	} {
		if outcomes[outcome] < 50 {
			t.Errorf("%s: %d times", outcome, outcomes[outcome])
		}
	}
}
