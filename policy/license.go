package policy

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
	"github.com/imagegate/imagegate/policy/internal/order"
	"github.com/imagegate/imagegate/policy/internal/spdx"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

// LicenseRule is a rule about the licenses of packages. Set exactly one of deny, allow and unknown.
//
// How the declared licenses of a package are read:
//
//   - Each declared license is an SPDX license expression. If a package declares several, all of
//     them apply.
//   - "A OR B" is a choice: the user of the package needs to comply with only one of the two.
//   - "A+" and "A-or-later" are a choice between version A and all later versions.
//   - Letter case is ignored.
//   - The deprecated GPL-2.0 equals GPL-2.0-only, and GPL-2.0+ equals GPL-2.0-or-later.
//   - A license is unknown if the package declares no license, if the declared text is not an SPDX
//     expression, or if the SPDX license list does not have the name.
//
// How a pattern in deny or allow is read:
//
//   - A pattern is an identifier of the SPDX license list or a LicenseRef. "*" matches any
//     characters.
//   - A pattern with "+" or "-or-later" matches the named version and all later versions.
type LicenseRule struct {
	// Name identifies the rule in exceptions. Mandatory, unique among all rules of the policy.
	// Example: "name: no copyleft".
	Name     string   `json:"name"`
	Position Position `json:"position"`
	// Effect sets what happens to an image with a package that violates the rule. Default: block.
	// Example: "effect: warn".
	Effect Effect `json:"effect"`
	// Deny lists patterns for denied licenses. A package violates the rule if every choice that its
	// licenses offer includes a denied license. A pattern without WITH also matches a license with
	// an SPDX exception. Unknown licenses do not violate the rule: add a rule with "unknown" for
	// them. Example: "deny: [AGPL-*, SSPL-1.0]".
	Deny []string `json:"deny,omitempty"`
	// Allow lists patterns for the only allowed licenses. A package violates the rule if every
	// choice that its licenses offer includes a license that no pattern matches. An unknown license
	// is not allowed. A license with an SPDX exception needs a pattern with WITH. Example: "allow:
	// [MIT, BSD-*, GPL-2.0-only WITH Classpath-exception-2.0]".
	Allow []string `json:"allow,omitempty"`
	// Unknown denies packages whose licenses are unknown. The only value is true. Example:
	// "unknown: true".
	Unknown bool `json:"unknown,omitempty"`
	// Package limits the rule to packages whose purl matches this purl pattern. Default: every
	// package. Example: "package: pkg:npm/*".
	Package string `json:"package,omitempty"`
}

func (d *decoder) licenses(to *[]LicenseRule, lines map[string]int) strict.Reader {
	return d.List(strict.MaxItems, func(n *yaml.Node) {
		r := LicenseRule{Position: d.position(n)}
		d.Mapping(n, "a rule about licenses",
			strict.Mandatory("name", d.ruleName(&r.Name, lines)),
			strict.Optional("effect", d.effect(&r.Effect)),
			strict.Optional("deny", d.Texts(&r.Deny, spdx.CheckPattern, "nothing would be denied")),
			strict.Optional("allow", d.Texts(&r.Allow, spdx.CheckPattern, "nothing would be allowed")),
			strict.Optional("unknown", d.Yes(&r.Unknown)),
			strict.Optional("package", d.CheckedText(&r.Package, match.CheckPURLPattern)),
		)
		d.ExactlyOne(n, "a rule about licenses", "deny", "allow", "unknown")
		*to = append(*to, r)
	})
}

// licenseRule is a LicenseRule with compiled patterns.
type licenseRule struct {
	*LicenseRule
	deny, allow spdx.Patterns
	pattern     match.PURLPattern
}

func compileLicenseRules(rules []LicenseRule) []licenseRule {
	compiled := make([]licenseRule, len(rules))
	for i := range rules {
		r := &rules[i]
		compiled[i] = licenseRule{r, spdx.NewPatterns(r.Deny), spdx.NewPatterns(r.Allow), match.NewPURLPattern(r.Package)}
	}
	return compiled
}

// violation returns how the licenses of a package violate the rule, or "". A rule without a
// condition always reports a violation; Parse never returns such a rule.
func (r *licenseRule) violation(d *spdx.Declared) string {
	switch {
	case len(r.Deny) > 0:
		if d.Hits(r.deny.Deny) {
			return "which the policy denies"
		}
		return ""
	case len(r.Allow) > 0:
		if d.Unread || d.Hits(func(l *spdx.License) bool { return !r.allow.Allow(l) }) {
			return "which the policy does not allow"
		}
		return ""
	case r.Unknown:
		if d.Unread || d.Hits(func(l *spdx.License) bool { return !l.Known }) {
			return "which is unknown"
		}
		return ""
	}
	return "and the rule has no condition"
}

func (e *evaluation) licenses(p *evidence.Platform) {
	if len(e.policy.Licenses) == 0 {
		return
	}
	rules := compileLicenseRules(e.policy.Licenses)
	for _, pkg := range order.Packages(p.Packages) {
		u, d := match.PackagePURL(pkg), spdx.NewDeclared(pkg.Licenses)
		for i := range rules {
			r := &rules[i]
			if !r.pattern.Match(u) {
				continue
			}
			if says := r.violation(&d); says != "" {
				e.reportRule(r.Effect, Violation{
					Kind: KindLicense, Rule: r.Name, Position: r.Position, Platform: p.Platform, Package: pkg,
					Message: fmt.Sprintf("the license of %s is %s, %s", wording.Package(pkg), licenseText(pkg.Licenses), says),
				}, pkg)
			}
		}
	}
}

// licenseText lists the licenses that a package declares, for a message. It shortens a long list.
func licenseText(licenses []string) string {
	const most = 5
	if len(licenses) == 0 {
		return "not declared"
	}
	texts := make([]string, 0, most+1)
	for i, text := range slices.Sorted(slices.Values(licenses)) {
		if i == most {
			texts = append(texts, fmt.Sprintf("%d more", len(licenses)-most))
			break
		}
		texts = append(texts, wording.Quote(text))
	}
	return strings.Join(texts, " and ")
}
