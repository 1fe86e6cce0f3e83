package match

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/pkg"
	syftpkg "github.com/anchore/syft/syft/pkg"

	"github.com/imagegate/imagegate/gate/catalog"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/policy/evidence"
)

// advisories counts the advisories in the vulnerability database that are relevant for the image:
// the advisories for its distribution, and for each type of language package. With few or no
// advisories, a scan without findings proves little. pkgs must not contain packages that a package
// of the distribution owns.
func advisories(ctx context.Context, db *vulndb.DB, s *catalog.SBOM, d *distro.Distro, pkgs []pkg.Package) ([]evidence.Advisories, error) {
	var out []evidence.Advisories
	if d != nil && (len(osPackageTypes(s)) > 0 || len(pkgs) == 0) {
		n, err := db.CountRelease(ctx, d)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSpace(s.Distribution.ID + " " + s.Distribution.Version)
		out = append(out, evidence.Advisories{Distribution: cmp.Or(name, d.String()), Count: n.Count, AtLeast: n.AtLeast})
	}
	byName := matchedByName()
	for _, t := range languageTypes(pkgs) {
		one := evidence.Advisories{Type: string(t)}
		n, err := db.CountType(ctx, t)
		hasCPE := func(p pkg.Package) bool { return p.Type == t && len(p.CPEs) > 0 }
		if err == nil && n.Count == 0 && !byName[t] && slices.ContainsFunc(pkgs, hasCPE) {
			n, err = db.CountCPEs(ctx)
			one.ByCPE = true
		}
		if err != nil {
			return nil, err
		}
		one.Count, one.AtLeast = n.Count, n.AtLeast
		out = append(out, one)
	}
	return out, nil
}

// languageTypes returns the types of the packages that are not operating system packages, sorted.
func languageTypes(pkgs []pkg.Package) []syftpkg.Type {
	var types []syftpkg.Type
	for i := range pkgs {
		// Skip machine learning models: they contain only weights, which databases have no
		// advisories about.
		if t := pkgs[i].Type; !catalog.IsOSPackage(t) && t != syftpkg.ModelPkg {
			types = append(types, t)
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}
