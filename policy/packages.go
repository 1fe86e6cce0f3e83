package policy

import (
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// PackageRule is a rule about which packages an image has. Exactly one of Deny,
// Require and Minimum is set.
//
// The patterns are over the packages' purls, compared part by part as those of
// an exception. A package without a purl counts as pkg:type/name@version.
type PackageRule struct {
	// Name is mandatory and unique among all rules of the policy. Exceptions
	// name the rule by it. Example: "name: no telnet".
	Name     string   `json:"name"`
	Position Position `json:"position"`
	// Effect is what happens to an image that the rule hits; block where left
	// out. Example: "effect: warn".
	Effect Effect `json:"effect"`
	// Deny hits every package that matches. Example: "deny: pkg:deb/*/telnet*".
	Deny string `json:"deny,omitempty"`
	// Require hits every platform on which no package matches.
	// Example: "require: pkg:deb/debian/ca-certificates".
	Require string `json:"require,omitempty"`
	// Minimum hits packages that are too old.
	// Example: "minimum: {purl: pkg:deb/debian/openssl, version: 3.0.13}".
	Minimum MinimumVersion `json:"minimum,omitzero"`
}

// MinimumVersion is the least version of some packages, which they may have.
// Versions are compared by the rules of the package's ecosystem, where the purl
// has one of the types apk, cargo, composer, deb, golang, hex, maven, npm, nuget,
// pub, pypi, rpm and swift. A version that cannot be compared counts as too old.
type MinimumVersion struct {
	// PURL is the pattern that says which packages, without a version.
	// Mandatory. Example: "purl: pkg:rpm/redhat/openssl".
	PURL string `json:"purl"`
	// Version is the least one. Mandatory. Of a deb or rpm package the epoch
	// counts only where it is written, and of an rpm package the release too.
	// Example: `version: "1:3.0.7-27.el9"`.
	Version string `json:"version"`
}

func (d *decoder) packages(to *[]PackageRule, lines map[string]int) reader {
	return d.list(maxItems, func(n *yaml.Node) {
		r := PackageRule{Position: d.position(n)}
		d.mapping(n, "a rule about packages",
			mandatory("name", d.unique(&r.Name, "rule", lines)),
			optional("effect", d.effect(&r.Effect)),
			optional("deny", d.checkedText(&r.Deny, checkPURLPattern)),
			optional("require", d.checkedText(&r.Require, checkPURLPattern)),
			optional("minimum", d.minimum(&r.Minimum)),
		)
		d.exactlyOne(n, "a rule about packages", "deny", "require", "minimum")
		*to = append(*to, r)
	})
}

func (d *decoder) minimum(to *MinimumVersion) reader {
	return func(key, n *yaml.Node) {
		d.mapping(n, quoted(key),
			mandatory("purl", d.checkedText(&to.PURL, checkUnversionedPattern)),
			mandatory("version", d.checkedText(&to.Version, checkVersion)),
		)
		if to.PURL == "" || to.Version == "" {
			return
		}
		// Where the pattern names the type, Evaluate's errors are foreseeable.
		if purlType := splitPURL(to.PURL).purlType(); purlType != "" && !strings.Contains(purlType, "*") {
			if _, ok := comparators[purlType]; !ok {
				d.problem(n, "%q: versions of type %q have no order that is known: want one of %s", key.Value, purlType, comparableTypes())
			} else if _, err := compareVersions(purlType, to.Version, to.Version); err != nil {
				d.problem(n, "%q: %v", key.Value, err)
			}
		}
	}
}

func checkUnversionedPattern(s string) error {
	if splitPURL(s).version.present {
		return errors.New(`has a version behind "@": write it as the version`)
	}
	return checkPURLPattern(s)
}

// purlType is the type in lower case, or "" where there is none.
func (u purl) purlType() string {
	rest, ok := strings.CutPrefix(u.name, "pkg:")
	if !ok {
		return ""
	}
	purlType, _, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	return strings.ToLower(purlType)
}

// packageRule is a PackageRule ready to be asked.
type packageRule struct {
	*PackageRule
	pattern purlPattern
}

func compilePackageRules(rules []PackageRule) []packageRule {
	compiled := make([]packageRule, len(rules))
	for i := range rules {
		r := &rules[i]
		compiled[i] = packageRule{r, newPURLPattern(r.Deny + r.Require + r.Minimum.PURL)} // only one is set
	}
	return compiled
}

// says returns what is wrong with a package that the pattern matches, or "". A
// rule without any condition, which Parse does not make, finds fault with all.
func (r *packageRule) says(pkg *Package, u purl) string {
	if r.Require != "" {
		return ""
	}
	if r.Minimum.PURL == "" {
		return packageName(pkg) + " is denied by the policy"
	}
	order, err := compareVersions(u.purlType(), pkg.Version, r.Minimum.Version)
	switch {
	case err != nil:
		return fmt.Sprintf("%s cannot be compared with %s, the least version: %v", packageName(pkg), r.Minimum.Version, err)
	case order < 0:
		return fmt.Sprintf("%s is older than %s, the least version", packageName(pkg), r.Minimum.Version)
	}
	return ""
}

func (e *evaluation) packages(p *Platform) {
	if len(e.policy.Packages) == 0 {
		return
	}
	rules := compilePackageRules(e.policy.Packages)
	found := make([]bool, len(rules))
	for _, pkg := range sortedPackages(p.Packages) {
		u := purlOf(pkg)
		for i := range rules {
			r := &rules[i]
			if !r.pattern.match(u) {
				continue
			}
			found[i] = true
			if says := r.says(pkg, u); says != "" {
				e.reportRule(r.Effect, Violation{
					Kind: KindPackage, Rule: r.Name, Position: r.Position, Platform: p.Platform, Package: pkg, Message: says,
				}, pkg)
			}
		}
	}
	for i := range rules {
		if r := &rules[i]; r.Require != "" && !found[i] {
			e.reportRule(r.Effect, Violation{
				Kind: KindPackage, Rule: r.Name, Position: r.Position, Platform: p.Platform,
				Message: fmt.Sprintf("no package matches %q, which the policy requires", r.Require),
			}, nil)
		}
	}
}
