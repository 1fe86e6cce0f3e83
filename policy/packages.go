package policy

import (
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/internal/versions"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
	"github.com/imagegate/imagegate/policy/internal/order"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

// PackageRule is a rule about the packages of an image. Set exactly one of deny, require and
// minimum. A package without a purl is compared as pkg:type/name@version.
type PackageRule struct {
	// Name identifies the rule in exceptions. Mandatory, unique among all rules of the policy.
	// Example: "name: no telnet".
	Name     string   `json:"name"`
	Position Position `json:"position"`
	// Effect sets what happens to an image that violates the rule. Default: block. Example:
	// "effect: warn".
	Effect Effect `json:"effect"`
	// Deny denies every package whose purl matches this purl pattern. Example: "deny:
	// pkg:deb/*/telnet*".
	Deny string `json:"deny,omitempty"`
	// Require requires, on every platform, a package whose purl matches this purl pattern. Example:
	// "require: pkg:deb/debian/ca-certificates".
	Require string `json:"require,omitempty"`
	// Minimum denies packages that are older than a minimum version. Example: "minimum: {purl:
	// pkg:deb/debian/openssl, version: 3.0.13}".
	Minimum MinimumVersion `json:"minimum,omitzero"`
}

// MinimumVersion is the lowest version that the selected packages may have. Versions are compared
// by the rules of the package's ecosystem. The purl must have one of these types: apk, cargo,
// composer, deb, gem, golang, hex, maven, npm, nuget, pub, pypi, rpm, swift. An installed version
// that cannot be compared counts as too old.
type MinimumVersion struct {
	// PURL selects the packages with a purl pattern. The pattern must not have a version.
	// Mandatory. Example: "purl: pkg:rpm/redhat/openssl".
	PURL string `json:"purl"`
	// Version sets the lowest allowed version. The epoch of a deb or rpm package is compared only
	// if this version has an epoch. The release of an rpm package is compared only if this version
	// has a release. Mandatory. Example: `version: "1:3.0.7-27.el9"`.
	Version string `json:"version"`
}

func (d *decoder) packages(to *[]PackageRule, lines map[string]int) strict.Reader {
	return d.List(strict.MaxItems, func(n *yaml.Node) {
		r := PackageRule{Position: d.position(n)}
		d.Mapping(n, "a rule about packages",
			strict.Mandatory("name", d.ruleName(&r.Name, lines)),
			strict.Optional("effect", d.effect(&r.Effect)),
			strict.Optional("deny", d.CheckedText(&r.Deny, match.CheckPURLPattern)),
			strict.Optional("require", d.CheckedText(&r.Require, match.CheckPURLPattern)),
			strict.Optional("minimum", d.minimum(&r.Minimum)),
		)
		d.ExactlyOne(n, "a rule about packages", "deny", "require", "minimum")
		*to = append(*to, r)
	})
}

func (d *decoder) minimum(to *MinimumVersion) strict.Reader {
	return func(key, n *yaml.Node) {
		d.Mapping(n, strict.Quoted(key),
			strict.Mandatory("purl", d.CheckedText(&to.PURL, checkUnversionedPattern)),
			strict.Mandatory("version", d.CheckedText(&to.Version, versions.Check)),
		)
		if to.PURL == "" || to.Version == "" {
			return
		}
		// If the pattern names a package type, check now whether Evaluate will be able to compare
		// versions of this type.
		if purlType := match.SplitPURL(to.PURL).Type(); purlType != "" && !strings.Contains(purlType, "*") {
			if !versions.Supported(purlType) {
				d.Problem(n, "%q: cannot compare versions of package type %q: expected one of %s", key.Value, purlType, versions.Types())
			} else if _, err := versions.Compare(purlType, to.Version, to.Version); err != nil {
				d.Problem(n, "%q: %v", key.Value, err)
			}
		}
	}
}

func checkUnversionedPattern(s string) error {
	if match.SplitPURL(s).Version.Present {
		return errors.New(`has a version after "@": write it under the key "version"`)
	}
	return match.CheckPURLPattern(s)
}

// packageRule is a PackageRule with a compiled pattern.
type packageRule struct {
	*PackageRule
	pattern match.PURLPattern
}

func compilePackageRules(rules []PackageRule) []packageRule {
	compiled := make([]packageRule, len(rules))
	for i := range rules {
		r := &rules[i]
		compiled[i] = packageRule{r, match.NewPURLPattern(r.Deny + r.Require + r.Minimum.PURL)} // Only one of the three fields is set.
	}
	return compiled
}

// violation returns how a package that matches the pattern violates the rule, or "". A rule without
// a condition always reports a violation; Parse never returns such a rule.
func (r *packageRule) violation(pkg *evidence.Package, u match.PURL) string {
	if r.Require != "" {
		return ""
	}
	if r.Minimum.PURL == "" {
		return wording.Package(pkg) + " is denied by the policy"
	}
	order, err := versions.CompareMinimum(u.Type(), pkg.Version, r.Minimum.Version)
	switch {
	case err != nil:
		return fmt.Sprintf("%s cannot be compared with %s, the minimum version: %v", wording.Package(pkg), r.Minimum.Version, err)
	case order < 0:
		return fmt.Sprintf("%s is older than %s, the minimum version", wording.Package(pkg), r.Minimum.Version)
	}
	return ""
}

func (e *evaluation) packages(p *evidence.Platform) {
	if len(e.policy.Packages) == 0 {
		return
	}
	rules := compilePackageRules(e.policy.Packages)
	found := make([]bool, len(rules))
	for _, pkg := range order.Packages(p.Packages) {
		u := match.PackagePURL(pkg)
		for i := range rules {
			r := &rules[i]
			if !r.pattern.Match(u) {
				continue
			}
			found[i] = true
			if says := r.violation(pkg, u); says != "" {
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
