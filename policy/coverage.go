package policy

import (
	"cmp"
	"fmt"
	"reflect"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/builtin"
	"github.com/imagegate/imagegate/policy/internal/coverage"
	"github.com/imagegate/imagegate/policy/internal/exceptions"
	"github.com/imagegate/imagegate/policy/internal/keys"
	"github.com/imagegate/imagegate/policy/internal/match"
	"github.com/imagegate/imagegate/policy/internal/order"
)

// CoverageEffects sets the effects of packages that could not be matched with advisories, by
// reason.
type CoverageEffects struct {
	// Distribution sets the effect if the database has no advisories for the distribution, if the
	// image does not name its distribution, or if the SBOM has no packages. Default: block.
	// Example: "notCovered: {distribution: warn}".
	Distribution Effect `json:"distribution"`
	// PackageType sets the effect of a package type, such as npm, if the database has no advisories
	// for the type. Default: block. Example: "notCovered: {packageType: warn}".
	PackageType Effect `json:"packageType"`
	// Version sets the effect of a package without a version, or with a version that cannot be
	// compared with advisories. Default: block. Example: "notCovered: {version: warn}".
	Version Effect `json:"version"`
	// FirstParty sets the effect of the application's own packages that have no released version:
	// the main module of a Go program, a private package.json, the application's jar. Default:
	// warn. Example: "notCovered: {firstParty: block}".
	FirstParty OptInEffect `json:"firstParty,omitempty"`
}

// UnknownEffects sets the effects of files that could not be read, by the kind of the file.
type UnknownEffects struct {
	// PackageDatabase sets the effect of an unreadable database of a package manager, such as the
	// database of dpkg. Default: block. Example: "unknowns: {packageDatabase: block}".
	PackageDatabase Effect `json:"packageDatabase"`
	// Archive sets the effect of unreadable archives that can hold packages, such as jars and
	// wheels. Default: block. Example: "unknowns: {archive: warn}".
	Archive Effect `json:"archive"`
	// File sets the effect of all other unreadable files. Default: block. Example: "unknowns:
	// {file: warn}".
	File Effect `json:"file"`
	// TestData sets the effect of unreadable files in the test data of a package in the SBOM.
	// Default: warn. Example: "unknowns: {testData: block}".
	TestData OptInEffect `json:"testData,omitempty"`
}

// OptInEffect is an effect that blocks only if the policy says so. The zero value warns.
type OptInEffect uint8

const (
	// OptInWarn reports a warning and lets the image pass.
	OptInWarn OptInEffect = iota
	// OptInBlock denies the image.
	OptInBlock
)

// Effect returns the equivalent Effect. Any value other than OptInWarn blocks.
func (o OptInEffect) Effect() Effect {
	if o == OptInWarn {
		return Warn
	}
	return Block
}

// String returns "warn" or "block".
func (o OptInEffect) String() string { return o.Effect().String() }

// MarshalText writes "warn" or "block".
func (o OptInEffect) MarshalText() ([]byte, error) { return o.Effect().MarshalText() }

// UnmarshalText accepts only "warn" and "block".
func (o *OptInEffect) UnmarshalText(text []byte) error {
	var e Effect
	if err := e.UnmarshalText(text); err != nil {
		return err
	}
	*o = OptInBlock
	if e == Warn {
		*o = OptInWarn
	}
	return nil
}

// of returns the effect that the policy sets for a reason. An unknown reason warns only if
// distribution, packageType and version all warn.
func (c *CoverageEffects) of(r evidence.UnmatchedReason) Effect {
	switch coverage.ReasonKey(r) {
	case "distribution":
		return c.Distribution
	case "packageType":
		return c.PackageType
	case "version":
		return c.Version
	case "firstParty":
		return c.FirstParty.Effect()
	}
	return min(c.Distribution, c.PackageType, c.Version) // Block is the lowest Effect, so the minimum is the strictest one
}

func (u *UnknownEffects) of(c evidence.UnknownClass) Effect {
	switch coverage.ClassKey(c) {
	case "packageDatabase":
		return u.PackageDatabase
	case "archive":
		return u.Archive
	case "testData":
		return u.TestData.Effect()
	}
	return u.File
}

// isEffectGroup reports whether t is a struct of effects. In a policy file, the value of such a
// group is a single effect or a mapping of effects.
func isEffectGroup(t reflect.Type) bool {
	return t == reflect.TypeFor[CoverageEffects]() || t == reflect.TypeFor[UnknownEffects]()
}

// effects reads the value of a key into group, a pointer to a struct of effects. The value is a
// single effect or a mapping of effects. A single effect sets every field that blocks by default,
// but no OptInEffect.
func (d *decoder) effects(group any) strict.Reader {
	v := reflect.ValueOf(group).Elem()
	return func(key, n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			var one Effect
			d.effect(&one)(key, n)
			for i := range v.NumField() {
				if to, ok := v.Field(i).Addr().Interface().(*Effect); ok {
					*to = one
				}
			}
			return
		}
		var fields []strict.Field
		for i := range v.NumField() {
			name := keys.Of(v.Type().Field(i))
			switch to := v.Field(i).Addr().Interface().(type) {
			case *Effect:
				fields = append(fields, strict.Optional(name, d.effect(to)))
			case *OptInEffect:
				fields = append(fields, strict.Optional(name, d.optInEffect(to)))
			}
		}
		d.Mapping(n, strict.Quoted(key), fields...)
		if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
			d.Problem(n, "%q is empty: expected block, warn or a mapping", key.Value)
		}
	}
}

func (d *decoder) optInEffect(to *OptInEffect) strict.Reader {
	return strict.Scalar(d.Decoder, to, "block or warn", func(s string) (o OptInEffect, err error) {
		return o, o.UnmarshalText([]byte(s))
	}, "!!str")
}

// setEffects copies every Effect of a group from one struct to the other, and returns the keys of
// these effects. An OptInEffect is not copied, because a single effect for the group does not set
// it.
func setEffects(to, from reflect.Value, key string) []string {
	var changed []string
	for i := range to.NumField() {
		if to.Field(i).Type() == reflect.TypeFor[Effect]() {
			to.Field(i).Set(from.Field(i))
			changed = append(changed, key+"."+keys.Of(to.Type().Field(i)))
		}
	}
	return changed
}

// coverage reports the packages of a platform that could not be matched. It omits packages that
// belong to another package whose advisories also cover them.
func (e *evaluation) coverage(p *evidence.Platform) {
	for _, u := range order.Sorted(p.Unmatched, order.CompareUnmatched) {
		if u.Reason.EvaluatedElsewhere() {
			continue
		}
		v := Violation{
			Kind: KindCoverage, Rule: builtin.NotCovered, Position: e.policy.Distribution.Position, Platform: p.Platform,
			Message: coverage.Message(&u), Unmatched: &u,
		}
		if e.policy.Distribution.NotCovered.of(u.Reason) == Warn {
			e.report(Warn, v)
			continue
		}
		e.reportUnless(v, packagesOf(p, &u))
	}
}

// packagesOf returns all packages and files that u is about. An exception covers u only if it
// matches all of them.
func packagesOf(p *evidence.Platform, u *evidence.Unmatched) (about exceptions.About) {
	for _, pkg := range coverage.Packages(p, u) {
		about.Add(pkg)
	}
	return about
}

// unknowns reports the files of a platform that could not be read. It omits files that a package of
// the distribution installed, because the distribution's advisories cover them.
func (e *evaluation) unknowns(p *evidence.Platform) {
	for _, u := range order.Sorted(p.Unknowns, order.CompareUnknowns) {
		if u.Class == evidence.UnknownOwned {
			continue
		}
		v := Violation{
			Kind: KindSBOM, Rule: builtin.Unknowns, Position: e.policy.SBOM.Position, Platform: p.Platform,
			Message: fmt.Sprintf("%s could not be cataloged: %s", cmp.Or(u.Path, "something"), u.Reason), Unknown: &u,
		}
		if e.policy.SBOM.Unknowns.of(u.Class) == Warn {
			e.report(Warn, v)
			continue
		}
		var about exceptions.About
		if u.Package != "" {
			about.Packages = append(about.Packages, match.SplitPURL(u.Package))
		}
		if u.Path != "" {
			about.Paths = append(about.Paths, u.Path)
		}
		e.reportUnless(v, about)
	}
}
