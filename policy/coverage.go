package policy

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
)

// The built-in rules that exceptions can name.
const (
	ruleNotCovered = "distribution.notCovered"
	ruleUnknowns   = "sbom.unknowns"
)

// builtInRules are the built-in rules that exceptions can name. strictRules are the others:
// incomplete evidence, an empty SBOM, and limits on the policy itself. pathRules are about files,
// so that an exception can name a path.
var (
	pathRules    = []string{ruleNotCovered, ruleUnknowns}
	builtInRules = []string{ruleNotCovered, ruleUnknowns, "database.maxAge", "database.origins", "database.minAdvisories",
		"distribution.endOfLife", "distribution.allow", "sbom.minPackages", RuleLazyIndexes}
	strictRules = []string{"sbom", "evidence", "exceptions", "exceptions.maxLifetime", "unmatchedImages"}
)

// CoverageEffects sets the effects of packages that could not be matched, by reason.
type CoverageEffects struct {
	// Distribution sets the effect if the database has no advisories for the distribution, if the
	// image does not name its distribution, or if no package was cataloged. Default: block.
	// Example: "notCovered: {distribution: warn}".
	Distribution Effect `json:"distribution"`
	// PackageType sets the effect if the database has no advisories for any package of a type.
	// Default: block. Example: "notCovered: {packageType: warn}".
	PackageType Effect `json:"packageType"`
	// Version sets the effect of a package without a version, or with a version that cannot be
	// compared. Default: block. Example: "notCovered: {version: warn}".
	Version Effect `json:"version"`
	// FirstParty sets the effect of an application's own packages without a released version: the
	// main module of a Go program, a private package.json, the application's jar. Default: warn.
	// Example: "notCovered: {firstParty: block}".
	FirstParty OptInEffect `json:"firstParty,omitempty"`
}

// UnknownEffects sets the effects of files that could not be read, by the kind of content that they
// could hide.
type UnknownEffects struct {
	// PackageDatabase sets the effect of an unreadable database of a package manager, such as
	// dpkg's. Default: block. Example: "unknowns: {packageDatabase: block}".
	PackageDatabase Effect `json:"packageDatabase"`
	// Archive sets the effect of unreadable archives that can hold packages, such as jars and
	// wheels. Default: block. Example: "unknowns: {archive: warn}".
	Archive Effect `json:"archive"`
	// File sets the effect of all other unreadable files. Default: block. Example: "unknowns:
	// {file: warn}".
	File Effect `json:"file"`
	// TestData sets the effect of unreadable files in the test data of a cataloged package.
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

// classKey returns the key of a class in the policy's section sbom.unknowns, or "" if there is none.
func classKey(c evidence.UnknownClass) string {
	switch c {
	case evidence.UnknownPackageDatabase:
		return "packageDatabase"
	case evidence.UnknownArchive:
		return "archive"
	case evidence.UnknownTestData:
		return "testData"
	case evidence.UnknownOwned:
		return ""
	}
	return "file"
}

// reasonKey returns the key of a reason in the policy's section distribution.notCovered, or "" if there
// is none.
func reasonKey(r evidence.UnmatchedReason) string {
	switch r {
	case evidence.NoDistribution, evidence.DistributionNotInDatabase, evidence.NothingCataloged:
		return "distribution"
	case evidence.TypeNotInDatabase:
		return "packageType"
	case evidence.VersionUnknown, evidence.VersionNotComparable:
		return "version"
	case evidence.MainModule, evidence.FirstParty:
		return "firstParty"
	}
	return ""
}

// of returns the effect of a reason. A reason that this version does not know warns only if all
// effects warn.
func (c *CoverageEffects) of(r evidence.UnmatchedReason) Effect {
	switch reasonKey(r) {
	case "distribution":
		return c.Distribution
	case "packageType":
		return c.PackageType
	case "version":
		return c.Version
	case "firstParty":
		return c.FirstParty.Effect()
	}
	return min(c.Distribution, c.PackageType, c.Version) // Block is the lowest value
}

func (u *UnknownEffects) of(c evidence.UnknownClass) Effect {
	switch classKey(c) {
	case "packageDatabase":
		return u.PackageDatabase
	case "archive":
		return u.Archive
	case "testData":
		return u.TestData.Effect()
	}
	return u.File
}

// isEffectGroup reports whether a key with a value of type t is one effect or a mapping of effects.
func isEffectGroup(t reflect.Type) bool {
	return t == reflect.TypeFor[CoverageEffects]() || t == reflect.TypeFor[UnknownEffects]()
}

// effects reads one effect, or a mapping of effects into group, a pointer to a struct.
// One effect sets all that block by default.
func (d *decoder) effects(group any) reader {
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
		var fields []field
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			switch to := v.Field(i).Addr().Interface().(type) {
			case *Effect:
				fields = append(fields, optional(name, d.effect(to)))
			case *OptInEffect:
				fields = append(fields, optional(name, d.optInEffect(to)))
			}
		}
		d.mapping(n, quoted(key), fields...)
		if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
			d.problem(n, "%q is empty: want block, warn or a mapping", key.Value)
		}
	}
}

func (d *decoder) optInEffect(to *OptInEffect) reader {
	return scalar(d, to, "block or warn", func(s string) (o OptInEffect, err error) {
		return o, o.UnmarshalText([]byte(s))
	}, "!!str")
}

// setEffects copies the effects that a single effect for the group stands for, and returns their
// keys.
func setEffects(to, from reflect.Value, key string) []string {
	var keys []string
	for i := range to.NumField() {
		if to.Field(i).Type() == reflect.TypeFor[Effect]() {
			to.Field(i).Set(from.Field(i))
			name, _, _ := strings.Cut(to.Type().Field(i).Tag.Get("json"), ",")
			keys = append(keys, key+"."+name)
		}
	}
	return keys
}

// oneEffect returns the single effect that equals a group of effects, if there is one.
func oneEffect(v reflect.Value) (one Effect, ok bool) {
	if !isEffectGroup(v.Type()) {
		return 0, false
	}
	var effects []Effect
	for i := range v.NumField() {
		switch x := v.Field(i).Interface().(type) {
		case Effect:
			effects = append(effects, x)
		case OptInEffect:
			if x != OptInWarn {
				return 0, false
			}
		}
	}
	return effects[0], len(slices.Compact(effects)) == 1
}

// excepting holds the packages and files of a violation. An exception must match all of them.
type excepting struct {
	packages []match.PURL
	paths    []string
}

// exceptingOne returns the value for one package. The zero purl stands for a violation without a
// package.
func exceptingOne(u match.PURL) excepting { return excepting{packages: []match.PURL{u}} }

func (s *excepting) add(p *evidence.Package) {
	s.packages = append(s.packages, purlOf(p))
	for _, l := range p.Found {
		s.paths = append(s.paths, l.Path)
	}
}

// matches reports whether the exception's patterns match all of s. A pattern does not match an
// empty list.
func (e *exception) matches(s excepting) bool {
	if !e.pattern.Any && (len(s.packages) == 0 || slices.ContainsFunc(s.packages, func(u match.PURL) bool { return !e.pattern.Match(u) })) {
		return false
	}
	other := func(path string) bool { return !doublestar.MatchUnvalidated(e.path, path) }
	return e.path == "" || len(s.paths) > 0 && !slices.ContainsFunc(s.paths, other)
}

// checkPathPattern refuses patterns that match no path in an image.
func checkPathPattern(s string) error {
	if !doublestar.ValidatePattern(s) {
		return fmt.Errorf("%q is not a valid pattern: a bracket is not closed, or a backslash ends it", s)
	}
	if !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "**") {
		return fmt.Errorf(`pattern %q matches no path: paths begin with "/"`, s)
	}
	for folder := range strings.SplitSeq(strings.TrimPrefix(s, "/"), "/") {
		if folder == "" || folder == "." || folder == ".." {
			return errors.New(`matches no path: a path has no empty folder, "." or ".." in it, and no "/" at its end`)
		}
	}
	return nil
}

// coverage reports packages that could not be matched, except packages that the matching of another
// package covers.
func (e *evaluation) coverage(p *evidence.Platform) {
	for _, u := range sorted(p.Unmatched, compareUnmatched) {
		if u.Reason.EvaluatedElsewhere() {
			continue
		}
		v := Violation{
			Kind: KindCoverage, Rule: ruleNotCovered, Position: e.policy.Distribution.Position, Platform: p.Platform,
			Message: coverageMessage(&u), Unmatched: &u,
		}
		if e.policy.Distribution.NotCovered.of(u.Reason) == Warn {
			e.report(Warn, v)
			continue
		}
		e.reportUnless(v, packagesOf(p, &u))
	}
}

func coverageMessage(u *evidence.Unmatched) string {
	what := "the operating system's packages are"
	switch {
	case u.Package != nil:
		what = joined(u.Package.Name, u.Package.Version)
		if len(u.Package.Found) > 0 {
			what += " in " + u.Package.Found[0].Path
		}
		what += " is"
	case u.Reason == evidence.NothingCataloged:
		what = "the image is"
	case u.Reason == evidence.TypeNotInDatabase:
		what = fmt.Sprintf("packages of type %s (%d of them) are", quoteShort(u.Type), u.Packages)
	}
	message := fmt.Sprintf("%s not covered: %s", what, u.Reason)
	if u.Detail != "" {
		message += " (" + u.Detail + ")"
	}
	return message
}

// packagesOf returns the packages that an exception for u must match.
func packagesOf(p *evidence.Platform, u *evidence.Unmatched) (s excepting) {
	if u.Package != nil {
		s.add(u.Package)
		return s
	}
	for i := range p.Packages {
		pkg := &p.Packages[i]
		switch {
		case u.Reason == evidence.TypeNotInDatabase && pkg.Type == u.Type && !ownedByDistribution(p, pkg):
			s.add(pkg)
		case reasonKey(u.Reason) == "distribution" && slices.Contains(distributionTypes, pkg.Type):
			s.add(pkg)
		}
	}
	return s
}

// distributionTypes are the types of packages that distributions install.
var distributionTypes = []string{"alpm", "apk", "deb", "portage", "rpm"}

// ownedByDistribution reports whether the evidence lists pkg as owned by a package of the
// distribution.
func ownedByDistribution(p *evidence.Platform, pkg *evidence.Package) bool {
	return slices.ContainsFunc(p.Unmatched, func(u evidence.Unmatched) bool {
		return u.Reason == evidence.OwnedByDistribution && u.Package != nil && u.Package.Type == pkg.Type && u.Package.Name == pkg.Name &&
			len(u.Package.Found) > 0 && slices.Contains(pkg.Found, u.Package.Found[0])
	})
}

// unknowns reports files that could not be read, except those that the distribution's
// advisories cover.
func (e *evaluation) unknowns(p *evidence.Platform) {
	for _, u := range sorted(p.Unknowns, compareUnknowns) {
		if u.Class == evidence.UnknownOwned {
			continue
		}
		v := Violation{
			Kind: KindSBOM, Rule: ruleUnknowns, Position: e.policy.SBOM.Position, Platform: p.Platform,
			Message: fmt.Sprintf("%s could not be cataloged: %s", cmp.Or(u.Path, "something"), u.Reason), Unknown: &u,
		}
		if e.policy.SBOM.Unknowns.of(u.Class) == Warn {
			e.report(Warn, v)
			continue
		}
		var s excepting
		if u.Package != "" {
			s.packages = append(s.packages, match.SplitPURL(u.Package))
		}
		if u.Path != "" {
			s.paths = append(s.paths, u.Path)
		}
		e.reportUnless(v, s)
	}
}
