package policy

import (
	"cmp"
	"slices"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/match"
)

// sortedPackages returns pointers to the packages in sorted order.
func sortedPackages(packages []evidence.Package) []*evidence.Package {
	order := pointers(packages)
	slices.SortStableFunc(order, func(a, b *evidence.Package) int {
		return cmp.Or(comparePackages(a, b), slices.Compare(a.Licenses, b.Licenses))
	})
	return order
}

// packageName returns the name of a package for messages.
func packageName(p *evidence.Package) string {
	return cmp.Or(joined(p.Name, p.Version), "a package without a name")
}

// purlOf returns the package's purl. A package without one gets a purl made from its type, or no
// pattern could deny it.
func purlOf(p *evidence.Package) match.PURL {
	if p.PURL != "" {
		return match.SplitPURL(p.PURL)
	}
	u := match.PURL{Name: "pkg:" + p.Type + "/" + p.Name}
	if p.Version != "" {
		u.Version = match.Part{Present: true, Text: p.Version}
	}
	return u
}
