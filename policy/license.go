package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
	"github.com/imagegate/imagegate/policy/internal/spdx"
)

// LicenseRule is a rule about the licenses of packages. Set exactly one of deny, allow and unknown.
//
// The licenses that a package declares are read as SPDX license expressions, and all of them apply.
// "A OR B" is a choice between both, and "A+" or "A-or-later" is a choice between that version and
// all later ones. Letter case is ignored. The deprecated GPL-2.0 equals GPL-2.0-only, and GPL-2.0+
// equals GPL-2.0-or-later. A license is unknown if the package declares none, if the declared text
// is not an SPDX expression, or if the SPDX list does not have the name.
//
// A pattern is an identifier of the SPDX list or a LicenseRef; "*" matches any characters. A
// pattern with "+" or "-or-later" matches all these versions.
type LicenseRule struct {
	// Name identifies the rule in exceptions. Mandatory, unique among all rules of the policy.
	// Example: "name: no copyleft".
	Name     string   `json:"name"`
	Position Position `json:"position"`
	// Effect sets what happens to an image with a package that violates the rule. Default: block.
	// Example: "effect: warn".
	Effect Effect `json:"effect"`
	// Deny lists patterns for licenses that are denied. A package violates the rule if every choice
	// includes a denied license. A pattern without WITH also matches the license with an exception.
	// Unknown licenses do not violate the rule; use a rule with "unknown" for them. Example: "deny:
	// [AGPL-*, SSPL-1.0]".
	Deny []string `json:"deny,omitempty"`
	// Allow lists patterns for the only licenses that are allowed. A package violates the rule if
	// no choice consists of allowed licenses only, so an unknown license violates it. A license
	// with an exception needs a pattern with WITH. Example: "allow: [MIT, BSD-*, GPL-2.0-only WITH
	// Classpath-exception-2.0]".
	Allow []string `json:"allow,omitempty"`
	// Unknown denies packages whose licenses are unknown. The only value is true. Example:
	// "unknown: true".
	Unknown bool `json:"unknown,omitempty"`
	// Package limits the rule to packages whose purl matches this pattern, part by part, as in an
	// exception. Default: every package. Example: "package: pkg:npm/*".
	Package string `json:"package,omitempty"`
}

func (d *decoder) licenses(to *[]LicenseRule, lines map[string]int) reader {
	return d.list(maxItems, func(n *yaml.Node) {
		r := LicenseRule{Position: d.position(n)}
		d.mapping(n, "a rule about licenses",
			mandatory("name", d.unique(&r.Name, "rule", lines)),
			optional("effect", d.effect(&r.Effect)),
			optional("deny", d.texts(&r.Deny, spdx.CheckPattern, "nothing would be denied")),
			optional("allow", d.texts(&r.Allow, spdx.CheckPattern, "nothing would be allowed")),
			optional("unknown", d.yes(&r.Unknown)),
			optional("package", d.checkedText(&r.Package, match.CheckPURLPattern)),
		)
		d.exactlyOne(n, "a rule about licenses", "deny", "allow", "unknown")
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

// says returns how the licenses of a package violate the rule, or "". A rule without a condition
// always reports a violation; Parse does not make such rules.
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
	for _, pkg := range sortedPackages(p.Packages) {
		u, d := purlOf(pkg), spdx.NewDeclared(pkg.Licenses)
		for i := range rules {
			r := &rules[i]
			if !r.pattern.Match(u) {
				continue
			}
			if says := r.violation(&d); says != "" {
				e.reportRule(r.Effect, Violation{
					Kind: KindLicense, Rule: r.Name, Position: r.Position, Platform: p.Platform, Package: pkg,
					Message: fmt.Sprintf("the license of %s is %s, %s", packageName(pkg), licenseText(pkg.Licenses), says),
				}, pkg)
			}
		}
	}
}

// licenseText lists the licenses that a package declares, shortened for a message.
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
		texts = append(texts, quoteShort(text))
	}
	return strings.Join(texts, " and ")
}

// quoteShort quotes text from the image, and cuts it if it is too long for a message.
func quoteShort(text string) string {
	const longest = 80
	if runes := []rune(text); len(runes) > longest {
		text = string(runes[:longest]) + "…"
	}
	return strconv.Quote(text)
}
