package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/policy/evidence"
)

// sections returns a random policy with rules about licenses, packages and the image, and
// exceptions for them. Most of its rules pass most images. If most images were denied for several
// reasons, a single change could never turn a denial into a pass.
func (g generator) sections() *Policy {
	p := blockAll()
	p.Signers = []SignerRule{{Name: "a", Key: testKey}, {Name: "b", Issuer: "i", Subject: "b*"}}
	names := []string{"a", "b", "c", "d"}
	g.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for i, name := range names[:g.IntN(len(names)+1)] {
		place := at(10+i, 1)
		switch g.IntN(4) {
		case 3:
			r := ProvenanceRule{Name: name, Position: place, Effect: g.effect(), Signers: []string{pick(g, "a", "b")}, Type: pick(g, "", ProvenanceSLSA, ProvenanceSignature)}
			if r.Type != ProvenanceSignature {
				r.Builder, r.Source = pick(g, "", "builder*"), pick(g, "", "https://git.example/*")
			}
			p.Provenance = append(p.Provenance, r)
		case 0:
			r := LicenseRule{Name: name, Position: place, Effect: g.effect(), Package: pick(g, "", "pkg:npm/a")}
			switch g.IntN(3) {
			case 0:
				r.Deny = []string{pick(g, "GPL-*", "Zlib")}
			case 1:
				r.Allow = []string{"MIT", "GPL-*"}
			default:
				r.Unknown = true
			}
			p.Licenses = append(p.Licenses, r)
		case 1:
			r := PackageRule{Name: name, Position: place, Effect: g.effect()}
			switch g.IntN(3) {
			case 0:
				r.Deny = pick(g, "pkg:npm/a@2*", "pkg:npm/z")
			case 1:
				r.Require = pick(g, "pkg:npm/a", "pkg:npm/b")
			default:
				r.Minimum = MinimumVersion{PURL: "pkg:*/a", Version: "1.1.0"}
			}
			p.Packages = append(p.Packages, r)
		default:
			p.Image = append(p.Image, pick(g,
				ImageRule{NotRoot: true}, ImageRule{NoSecrets: true}, ImageRule{Labels: []string{"a", "b=x*"}}, ImageRule{Ports: []string{"80-90"}},
				ImageRule{MaxAge: 2 * time.Hour}, ImageRule{MaxSize: 100}, ImageRule{MaxLayers: 1}, ImageRule{Base: []string{"x*"}}, ImageRule{NotLatest: true},
			))
			r := &p.Image[len(p.Image)-1]
			r.Name, r.Position, r.Effect = name, place, g.effect()
		}
	}
	if g.IntN(3) == 0 {
		p.Database.Origins = []string{"https://db.example/*"}
		p.Distribution = DistributionRule{Allow: []string{"debian *"}, NotAllowed: g.effect()}
	}
	for i := range g.IntN(4) {
		p.Exceptions = append(p.Exceptions, Exception{
			Position: at(i+1, 1), Rule: pick(g, names...), Expires: g.instant(), Reason: "r", Owner: "o", Package: pick(g, "", "", "pkg:npm/a"),
		})
	}
	return p
}

func (g generator) configured() evidence.Input {
	in := cleanInput()
	in.Image.Reference = pick(g, "app:1", "app:1", "app")
	in.Database.Source = pick(g, "https://db.example/x", "https://db.example/x", "https://db.example/x", "")
	in.Platforms = nil
	for i := range 1 + g.IntN(2) {
		p := cleanInput().Platforms[0]
		p.Platform = fmt.Sprint("linux/", i)
		p.Distribution.ID = pick(g, "debian", "debian", "debian", "alpine")
		p.Packages = append(repeat(g, 3, func() evidence.Package {
			name, version := pick(g, "a", "b", "c"), pick(g, "1.0.0", "1.1.0", "2.0.0", "next")
			return evidence.Package{
				Name: name, Version: version, Type: "npm", PURL: pick(g, "", "pkg:npm/"+name+"@"+version),
				Licenses: repeat(g, 2, func() string {
					return pick(g, "MIT", "MIT", "MIT OR Zlib", "GPL-2.0+", "MIT AND Zlib", "Foo", "see COPYING")
				}),
			}
		}), npm("certificates", "1.0.0"))
		p.Packages[len(p.Packages)-1].Licenses = []string{"MIT"}
		p.Size, p.Layers, p.Base = pick(g, int64(100), 100, 101), []evidence.Layer{{}, {}}[:1+g.IntN(2)], &evidence.Base{Name: pick(g, "x", "x", "y")}
		p.Config = &evidence.ImageConfig{
			User: pick(g, "1000", "1000", ""), Labels: map[string]string{"a": "x", "b": pick(g, "x1", "x1", "y")},
			ExposedPorts: repeat(g, 3, func() string { return pick(g, "80", "85/tcp", "90", "91", "80/udp") }), Created: g.instant(),
			Secrets: repeat(g, 1, func() evidence.Secret { return evidence.Secret{Where: pick(g, "a", "b"), Kind: "k"} }),
		}
		in.Platforms = append(in.Platforms, p)
	}
	in.Attestations = repeat(g, 4, func() evidence.Attestation {
		a := evidence.Attestation{Digest: fmt.Sprint(g.IntN(9)), Subject: pick(g, in.Image.Digest, in.Image.Digest, in.Platforms[0].Digest, "sha256:other")}
		if s := g.signer(); s != nil {
			a.Signer = *s
		}
		if g.IntN(3) > 0 {
			a.PredicateType = "https://slsa.dev/provenance/v1"
			a.Provenance = &evidence.Provenance{Builder: pick(g, "builder", "builder", "other", ""), Source: pick(g, "https://git.example/app", "https://git.example/app", "x", "")}
		}
		return a
	})
	return in
}

// FuzzEvaluateSections makes a policy and an input from a seed, and checks the promises of Evaluate
// for rules that are not about vulnerabilities.
func FuzzEvaluateSections(f *testing.F) {
	for seed := range uint64(2000) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		g := newGenerator(seed)
		p, in := g.sections(), g.configured()
		policyBefore, inputBefore := asJSON(t, p), asJSON(t, in)
		d := p.Evaluate(in, now)
		if asJSON(t, p) != policyBefore || asJSON(t, in) != inputBefore {
			t.Fatal("the arguments have changed")
		}
		checkDecision(t, in, d)
		checkUntil(t, Set{p}, in, d)
		checkPackageOrder(t, g, p, in, d)
		checkLessEvidence(t, p, in, d)
		for i := range p.Exceptions {
			fewer := *p
			fewer.Exceptions = slices.Delete(slices.Clone(p.Exceptions), i, i+1)
			if !d.Passed && fewer.Evaluate(in, now).Passed {
				t.Error("removing an exception turned a denial into a pass")
			}
		}
	})
}

// checkPackageOrder checks that the same evidence in another order gives the same decision, except
// for the order of the lists that messages quote.
func checkPackageOrder(t *testing.T, g generator, p *Policy, in evidence.Input, d Decision) {
	t.Helper()
	in.Platforms = slices.Clone(in.Platforms)
	shuffle(g, in.Platforms)
	in.Attestations = slices.Clone(in.Attestations)
	shuffle(g, in.Attestations)
	for i := range in.Platforms {
		platform := &in.Platforms[i]
		platform.Packages = slices.Clone(platform.Packages)
		shuffle(g, platform.Packages)
		config := *platform.Config
		config.ExposedPorts, config.Secrets = slices.Clone(config.ExposedPorts), slices.Clone(config.Secrets)
		shuffle(g, config.ExposedPorts)
		shuffle(g, config.Secrets)
		platform.Config = &config
	}
	if diff := cmp.Diff(d, p.Evaluate(in, now)); diff != "" {
		t.Errorf("in another order: %s", diff)
	}
}

// checkLessEvidence checks that missing evidence never lets an image pass.
func checkLessEvidence(t *testing.T, p *Policy, in evidence.Input, d Decision) {
	t.Helper()
	if d.Passed {
		return
	}
	for name, lose := range map[string]func(*evidence.Platform){
		"the configuration": func(p *evidence.Platform) { p.Config = nil },
		"the user":          func(p *evidence.Platform) { c := *p.Config; c.User = ""; p.Config = &c },
		"the labels":        func(p *evidence.Platform) { c := *p.Config; c.Labels = nil; p.Config = &c },
		"the date":          func(p *evidence.Platform) { c := *p.Config; c.Created = time.Time{}; p.Config = &c },
		"size and layers":   func(p *evidence.Platform) { p.Size, p.Layers = 0, nil },
		"the base":          func(p *evidence.Platform) { p.Base = nil },
		"the distribution":  func(p *evidence.Platform) { p.Distribution = evidence.Distribution{} },
	} {
		less := in
		less.Platforms = slices.Clone(in.Platforms)
		for i := range less.Platforms {
			lose(&less.Platforms[i])
		}
		if p.Evaluate(less, now).Passed {
			t.Errorf("without %s a denial is a pass", name)
		}
	}
	for i := range in.Attestations {
		less := in
		less.Attestations = slices.Delete(slices.Clone(in.Attestations), i, i+1)
		if p.Evaluate(less, now).Passed {
			t.Error("without an attestation a denial is a pass")
		}
	}
	less := in
	less.Image.Reference, less.Database.Source = "", ""
	if p.Evaluate(less, now).Passed {
		t.Error("without reference and origin a denial is a pass")
	}
}

// TestSectionsMeet checks that the generated policies and inputs reach every kind of outcome.
// Otherwise FuzzEvaluateSections would prove little.
func TestSectionsMeet(t *testing.T) {
	outcomes := map[string]int{}
	for seed := range uint64(2000) {
		g := newGenerator(seed)
		d := g.sections().Evaluate(g.configured(), now)
		outcomes[fmt.Sprint("passed ", d.Passed)]++
		outcomes["excepted"] += len(d.Excepted)
		for _, v := range d.Violations {
			outcomes["violation "+string(v.Kind)]++
			outcomes["expired"] += len(v.Expired)
		}
		for _, v := range d.Warnings {
			outcomes["warning "+string(v.Kind)]++
		}
	}
	for _, outcome := range []string{
		"passed true", "passed false", "excepted", "expired",
		"violation license", "violation package", "violation provenance", "warning provenance", "violation image", "violation distribution", "violation database",
		"warning license", "warning package", "warning image", "warning distribution",
	} {
		if outcomes[outcome] < 50 {
			t.Errorf("%s: %d times", outcome, outcomes[outcome])
		}
	}
}
