package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/suggest"
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
			optional("deny", d.texts(&r.Deny, checkLicensePattern, "nothing would be denied")),
			optional("allow", d.texts(&r.Allow, checkLicensePattern, "nothing would be allowed")),
			optional("unknown", d.yes(&r.Unknown)),
			optional("package", d.checkedText(&r.Package, checkPURLPattern)),
		)
		d.exactlyOne(n, "a rule about licenses", "deny", "allow", "unknown")
		*to = append(*to, r)
	})
}

// licensePattern matches licenses by name.
type licensePattern struct {
	name      glob
	license   license // used if the name has no star
	exception glob    // nil without WITH
}

func newLicensePattern(s string) licensePattern {
	id, exception, with := cutWith(strings.ToLower(s))
	p := licensePattern{name: newGlob(id)}
	if len(p.name) == 1 {
		p.license = newLicense(id, "")
	}
	if with {
		p.exception = newGlob(exception)
	}
	return p
}

// cutWith splits a pattern at its operator WITH.
func cutWith(s string) (id, exception string, with bool) {
	if f := strings.Fields(s); len(f) == 3 && strings.EqualFold(f[1], "with") {
		return f[0], f[2], true
	}
	return s, "", false
}

// match compares only the names, without the exception.
func (p *licensePattern) match(l *license) bool {
	if len(p.name) > 1 {
		return slices.ContainsFunc(l.names(), p.name.match)
	}
	if p.license.later && !l.later {
		return l.atLeast(p.license.id)
	}
	return l.id == p.license.id && l.later == p.license.later
}

func (p *licensePattern) matchException(l *license) bool {
	return l.exception != "" && p.exception.match(l.exception)
}

type licensePatterns []licensePattern

func newLicensePatterns(list []string) licensePatterns {
	patterns := make(licensePatterns, len(list))
	for i, s := range list {
		patterns[i] = newLicensePattern(s)
	}
	return patterns
}

// deny reports whether l is denied in every version that can be chosen.
func (patterns licensePatterns) deny(l *license) bool {
	for i := range patterns {
		p := &patterns[i]
		if p.match(l) && (p.exception == nil || p.matchException(l)) {
			return true
		}
	}
	return l.later && !slices.ContainsFunc(l.versions(), func(v license) bool { return !patterns.deny(&v) })
}

// allow reports whether l is allowed in some version. A license that is not in the SPDX list is
// never allowed, or "*" would match it.
func (patterns licensePatterns) allow(l *license) bool {
	if !l.known {
		return false
	}
	for i := range patterns {
		p := &patterns[i]
		if p.match(l) && (p.exception == nil) == (l.exception == "") && (p.exception == nil || p.matchException(l)) {
			return true
		}
	}
	return l.later && slices.ContainsFunc(l.versions(), func(v license) bool { return patterns.allow(&v) })
}

// checkLicensePattern refuses a pattern that matches no license, such as a misspelled one. Under
// deny, such a pattern would let everything pass.
func checkLicensePattern(s string) error {
	list := spdxList()
	id, exception, with := cutWith(strings.ToLower(s))
	if !isIdentifier(strings.ReplaceAll(id, "*", "x")) {
		return fmt.Errorf("%q is no license of the SPDX list and no pattern over them: write one license for each item", s)
	}
	p := newLicensePattern(id)
	star := len(p.name) > 1
	switch {
	case !star && !p.license.known:
		if near := suggest.Nearest(id, list.names); near != "" {
			return fmt.Errorf("%q is no license of the SPDX list: did you mean %q?", s, near)
		}
		return fmt.Errorf("%q is no license of the SPDX list: write one of its identifiers, a pattern with * or a LicenseRef", s)
	case star && !isReference(id) && !slices.ContainsFunc(list.names, func(name string) bool {
		l := newLicense(name, "")
		return slices.ContainsFunc(l.names(), p.name.match)
	}):
		return fmt.Errorf("pattern %q matches no license of the SPDX list", s)
	}
	if !with || strings.HasPrefix(exception, "additionref-") {
		return nil
	}
	known := newGlob(exception)
	for name := range list.exceptions {
		if known.match(name) {
			return nil
		}
	}
	return fmt.Errorf("%q is no exception of the SPDX list", exception)
}

// declared holds the licenses that a package declares.
type declared struct {
	expressions []expression // the expressions that could be parsed
	unread      bool         // the package declares none, or some could not be parsed
}

func newDeclared(texts []string) declared {
	d := declared{unread: len(texts) == 0}
	for _, text := range texts {
		x, err := parseExpression(text)
		if err != nil {
			d.unread = true
			continue
		}
		d.expressions = append(d.expressions, x)
	}
	return d
}

// hits reports whether some expression has a bad license in every choice. All expressions apply.
func (d *declared) hits(bad func(*license) bool) bool {
	return slices.ContainsFunc(d.expressions, func(x expression) bool { return x.hits(bad) })
}

// licenseRule is a LicenseRule with compiled patterns.
type licenseRule struct {
	*LicenseRule
	deny, allow licensePatterns
	pattern     purlPattern
}

func compileLicenseRules(rules []LicenseRule) []licenseRule {
	compiled := make([]licenseRule, len(rules))
	for i := range rules {
		r := &rules[i]
		compiled[i] = licenseRule{r, newLicensePatterns(r.Deny), newLicensePatterns(r.Allow), newPURLPattern(r.Package)}
	}
	return compiled
}

// says returns how the licenses of a package violate the rule, or "". A rule without a condition
// always reports a violation; Parse does not make such rules.
func (r *licenseRule) says(d *declared) string {
	switch {
	case len(r.Deny) > 0:
		if d.hits(r.deny.deny) {
			return "which the policy denies"
		}
		return ""
	case len(r.Allow) > 0:
		if d.unread || d.hits(func(l *license) bool { return !r.allow.allow(l) }) {
			return "which the policy does not allow"
		}
		return ""
	case r.Unknown:
		if d.unread || d.hits(func(l *license) bool { return !l.known }) {
			return "which is unknown"
		}
		return ""
	}
	return "and the rule does not say what is wrong with that"
}

func (e *evaluation) licenses(p *Platform) {
	if len(e.policy.Licenses) == 0 {
		return
	}
	rules := compileLicenseRules(e.policy.Licenses)
	for _, pkg := range sortedPackages(p.Packages) {
		u, d := purlOf(pkg), newDeclared(pkg.Licenses)
		for i := range rules {
			r := &rules[i]
			if !r.pattern.match(u) {
				continue
			}
			if says := r.says(&d); says != "" {
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
