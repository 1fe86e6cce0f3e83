// Package coverage describes incomplete evidence: files that could not be read, and packages that
// could not be matched.
package coverage

import (
	"fmt"
	"slices"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

// ClassKey returns the key of a class in the policy's section sbom.unknowns, or "" if no key sets
// its effect.
func ClassKey(c evidence.UnknownClass) string {
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

// ReasonKey returns the key of a reason in the policy's section distribution.notCovered, or "" if
// no key sets its effect.
func ReasonKey(r evidence.UnmatchedReason) string {
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

// Message describes a package, a package type or a distribution that could not be matched.
func Message(u *evidence.Unmatched) string {
	what := "the operating system's packages are"
	switch {
	case u.Package != nil:
		what = wording.Joined(u.Package.Name, u.Package.Version)
		if len(u.Package.Found) > 0 {
			what += " in " + u.Package.Found[0].Path
		}
		what += " is"
	case u.Reason == evidence.NothingCataloged:
		what = "the image is"
	case u.Reason == evidence.TypeNotInDatabase:
		what = fmt.Sprintf("packages of type %s (%d of them) are", wording.Quote(u.Type), u.Packages)
	}
	message := fmt.Sprintf("%s not covered: %s", what, u.Reason)
	if u.Detail != "" {
		message += " (" + u.Detail + ")"
	}
	return message
}

// Packages returns the packages that u is about: one package, all packages of a type, or all
// packages of the distribution.
func Packages(p *evidence.Platform, u *evidence.Unmatched) []*evidence.Package {
	if u.Package != nil {
		return []*evidence.Package{u.Package}
	}
	var packages []*evidence.Package
	for i := range p.Packages {
		pkg := &p.Packages[i]
		switch {
		case u.Reason == evidence.TypeNotInDatabase && pkg.Type == u.Type && !ownedByDistribution(p, pkg):
			packages = append(packages, pkg)
		case ReasonKey(u.Reason) == "distribution" && slices.Contains(distributionTypes, pkg.Type):
			packages = append(packages, pkg)
		}
	}
	return packages
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
