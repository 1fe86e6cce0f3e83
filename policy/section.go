package policy

import (
	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/evidence"
)

// section describes one key of the policy language. A new section needs a field of Policy whose
// JSON name is the key, a file with its types, reader and checks, and a row in sections. Scopes,
// package format, the reference and the schema follow from these. Warnings about a section are in
// package lint.
type section struct {
	key       string
	mandatory bool // mandatory in a policy; a scope may omit every section
	// read returns the reader of the section. names maps the names of all rules to their lines.
	read func(d *decoder, p *Policy, names map[string]int) strict.Reader
	// fixed means that scopes cannot set the section. inScope returns the reader for scopes, if the
	// section has another form there.
	fixed   bool
	inScope func(d *decoder, p *Policy) strict.Reader
	// image lists the checks of the whole image, platform the checks of each platform. With several
	// policies, every policy runs a check before the next check begins.
	image    []func(*evaluation)
	platform []func(*evaluation, *evidence.Platform)
	// findings means that the rules of this section decide about findings.
	findings bool
}

type (
	imageChecks    = []func(*evaluation)
	platformChecks = []func(*evaluation, *evidence.Platform)
)

// sections returns all sections, in the order of their checks. It is a function and not a variable,
// because the reader of the section "images" calls it.
func sections() []section {
	return []section{
		{key: "unmatchedImages", fixed: true,
			read:  func(d *decoder, p *Policy, _ map[string]int) strict.Reader { return d.unmatchedImages(p) },
			image: imageChecks{(*evaluation).unmatched}},
		{key: "database",
			read:  func(d *decoder, p *Policy, _ map[string]int) strict.Reader { return d.database(&p.Database) },
			image: imageChecks{(*evaluation).database, (*evaluation).origin}},
		{key: "distribution",
			read:     func(d *decoder, p *Policy, _ map[string]int) strict.Reader { return d.distribution(&p.Distribution) },
			platform: platformChecks{(*evaluation).endOfLife, (*evaluation).distribution, (*evaluation).coverage}},
		{key: "sbom",
			read:     func(d *decoder, p *Policy, _ map[string]int) strict.Reader { return d.sbom(&p.SBOM) },
			platform: platformChecks{(*evaluation).sbom}},
		{key: "provenance",
			read: func(d *decoder, p *Policy, names map[string]int) strict.Reader {
				return d.provenance(&p.Provenance, names)
			},
			platform: platformChecks{(*evaluation).provenance}},
		{key: "rules", mandatory: true, findings: true,
			read: func(d *decoder, p *Policy, names map[string]int) strict.Reader { return d.rules(&p.Rules, names) }},
		{key: "licenses",
			read:     func(d *decoder, p *Policy, names map[string]int) strict.Reader { return d.licenses(&p.Licenses, names) },
			platform: platformChecks{(*evaluation).licenses}},
		{key: "packages",
			read:     func(d *decoder, p *Policy, names map[string]int) strict.Reader { return d.packages(&p.Packages, names) },
			platform: platformChecks{(*evaluation).packages}},
		{key: "image",
			read:     func(d *decoder, p *Policy, names map[string]int) strict.Reader { return d.image(&p.Image, names) },
			image:    imageChecks{(*evaluation).wholeImage},
			platform: platformChecks{(*evaluation).image}},
		{key: "custom",
			read:     func(d *decoder, p *Policy, names map[string]int) strict.Reader { return d.custom(&p.Custom, names) },
			platform: platformChecks{(*evaluation).custom}},
		{key: "baseline",
			read: func(d *decoder, p *Policy, _ map[string]int) strict.Reader { return d.baseline(&p.Baseline) }},
		{key: "baselineMaxAge",
			read: func(d *decoder, p *Policy, _ map[string]int) strict.Reader { return d.Duration(&p.BaselineMaxAge) }},
		{key: "copyAttestations",
			read: func(d *decoder, p *Policy, _ map[string]int) strict.Reader {
				return d.copyAttestations(&p.CopyAttestations)
			}},
		{key: "vex",
			read: func(d *decoder, p *Policy, _ map[string]int) strict.Reader { return d.vex(&p.VEX) }},
		{key: "exceptions",
			read:    func(d *decoder, p *Policy, _ map[string]int) strict.Reader { return d.exceptionSection(p) },
			inScope: func(d *decoder, p *Policy) strict.Reader { return d.exceptions(&p.Exceptions) }},
		{key: "images", fixed: true,
			read: func(d *decoder, p *Policy, _ map[string]int) strict.Reader { return d.scopes(&p.Images) }},
		{key: "signers", fixed: true,
			read: func(d *decoder, p *Policy, _ map[string]int) strict.Reader { return d.signers(&p.Signers) }},
		{key: "override", fixed: true,
			read: func(d *decoder, p *Policy, _ map[string]int) strict.Reader { return d.override(&p.Override) }},
		{key: "name", fixed: true,
			read: func(d *decoder, p *Policy, _ map[string]int) strict.Reader { return d.policyName(&p.Name) }},
		{key: "decision", fixed: true,
			read: func(d *decoder, p *Policy, _ map[string]int) strict.Reader { return d.decision(&p.Decision) }},
	}
}

// policy parses the top-level mapping of a policy file.
func (d *decoder) policy(p *Policy, n *yaml.Node) {
	names := map[string]int{}
	fields := []strict.Field{strict.Mandatory("version", d.Version(formatVersion))}
	for _, s := range sections() {
		fields = append(fields, strict.Field{Name: s.key, Mandatory: s.mandatory, Read: s.read(d, p, names)})
	}
	d.Mapping(n, "the policy", fields...)
	d.checkSigners(p)
}

// scopeFields returns the sections that a scope may set.
func (d *decoder) scopeFields(p *Policy) []strict.Field {
	names := map[string]int{}
	var fields []strict.Field
	for _, s := range sections() {
		switch {
		case s.fixed:
		case s.inScope != nil:
			fields = append(fields, strict.Optional(s.key, s.inScope(d, p)))
		default:
			fields = append(fields, strict.Optional(s.key, s.read(d, p, names)))
		}
	}
	return fields
}
