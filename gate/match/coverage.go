package match

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/anchore/grype/grype/distro"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/version"
	"github.com/anchore/syft/syft/cpe"
	syftpkg "github.com/anchore/syft/syft/pkg"

	"github.com/imagegate/imagegate/gate/catalog"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/policy/evidence"
)

// addGaps adds everything that limits the result of matching: packages that the matchers ignore
// without an error, files that the catalogers could not read, and the number of advisories for the
// matched packages.
func (m *Result) addGaps(ctx context.Context, db *vulndb.DB, s *catalog.SBOM, d *distro.Distro, pkgs []pkg.Package) error {
	gaps, err := distributionGaps(ctx, db, s, d)
	if err != nil {
		return err
	}
	// The distribution's advisories cover the files of its packages only if the database covers the
	// distribution.
	c := &coverage{db: db, sbom: s, distributionCovered: len(gaps) == 0 && d != nil, cataloged: map[pkg.ID]*syftpkg.Package{}}
	for i := range s.SyftPackages() {
		c.cataloged[pkg.ID(s.SyftPackages()[i].ID())] = &s.SyftPackages()[i]
	}
	m.Unmatched = append([]evidence.Unmatched{}, gaps...)
	if err := c.addTypes(ctx, pkgs, &m.Unmatched); err != nil {
		return err
	}
	for i := range pkgs {
		if err := c.addVersion(ctx, &pkgs[i], &m.Unmatched); err != nil {
			return err
		}
	}
	m.Unknowns = s.EvaluatedUnknowns(c.distributionCovered)
	others := slices.DeleteFunc(slices.Clone(pkgs), func(p pkg.Package) bool { return c.ownerOf(&p) != nil })
	m.Advisories, err = advisories(ctx, db, s, d, others)
	return err
}

// distributionGaps returns the reasons why packages of the distribution cannot be matched.
func distributionGaps(ctx context.Context, db *vulndb.DB, s *catalog.SBOM, d *distro.Distro) ([]evidence.Unmatched, error) {
	var out []evidence.Unmatched
	if len(s.Packages) == 0 {
		out = append(out, evidence.Unmatched{Reason: evidence.NothingCataloged, Detail: "no package was found in the image"})
	}
	kinds := osPackageTypes(s)
	switch {
	case len(kinds) == 0 && d != nil && len(s.Packages) > 0:
		out = append(out, evidence.Unmatched{Reason: evidence.NothingCataloged,
			Detail: "os-release names " + d.String() + ", but no operating system package was found"})
	case len(kinds) > 0 && d == nil:
		out = append(out, evidence.Unmatched{Reason: evidence.NoDistribution,
			Detail: "the image has operating system packages, but no os-release that names the distribution"})
	case len(kinds) > 0:
		for _, kind := range kinds {
			if !slices.Contains(nativeTypes[kind], d.Type) {
				out = append(out, evidence.Unmatched{Reason: evidence.DistributionNotInDatabase,
					Detail: fmt.Sprintf("the image has packages of type %s, which %s does not use", kind, d)})
			}
		}
		ok, err := db.Covers(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("looking up %s in the vulnerability database: %w", d, err)
		}
		if !ok {
			out = append(out, evidence.Unmatched{Reason: evidence.DistributionNotInDatabase, Detail: d.String()})
		}
	}
	return out, nil
}

// coverage finds the packages that the matchers ignore, with the reasons.
type coverage struct {
	db                  *vulndb.DB
	sbom                *catalog.SBOM
	distributionCovered bool
	cataloged           map[pkg.ID]*syftpkg.Package
	modules             map[string]string // the result of catalog.VersionedModules; nil until needed
}

// ownerOf returns the package of a covered distribution that owns all files that describe p, or
// nil.
func (c *coverage) ownerOf(p *pkg.Package) *evidence.Package {
	cataloged := c.cataloged[p.ID]
	if !c.distributionCovered || cataloged == nil || catalog.IsOSPackage(p.Type) {
		return nil
	}
	var owner *evidence.Package
	for _, l := range catalog.Evidence(cataloged) {
		if owner = c.sbom.OwnerOf(l.RealPath); owner == nil {
			return nil
		}
	}
	return owner
}

// addTypes adds the package types that have no advisory in the vulnerability database. For these
// types, a scan without findings means nothing. addTypes skips packages of the distribution and
// packages that they own, because these depend on the distribution's advisories instead.
func (c *coverage) addTypes(ctx context.Context, pkgs []pkg.Package, to *[]evidence.Unmatched) error {
	byName := matchedByName()
	unanswered := map[syftpkg.Type][]string{}
	for i := range pkgs {
		p := &pkgs[i]
		// Skip machine learning models: they contain only weights, which databases have no
		// advisories about.
		if catalog.IsOSPackage(p.Type) || p.Type == syftpkg.ModelPkg {
			continue
		}
		ok, err := c.coversType(ctx, p.Type, p.CPEs, byName)
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		if owner := c.ownerOf(p); owner != nil {
			*to = append(*to, c.owned(p, owner))
			continue
		}
		unanswered[p.Type] = append(unanswered[p.Type], p.Name)
	}
	for _, t := range slices.Sorted(maps.Keys(unanswered)) {
		*to = append(*to, evidence.Unmatched{Type: string(t), Packages: len(unanswered[t]), Reason: evidence.TypeNotInDatabase, Detail: someOf(unanswered[t])})
	}
	return nil
}

func (c *coverage) coversType(ctx context.Context, t syftpkg.Type, cpes []cpe.CPE, byName map[syftpkg.Type]bool) (bool, error) {
	ok, err := c.db.CoversType(ctx, t)
	if err == nil && !ok && !byName[t] && len(cpes) > 0 {
		ok, err = c.db.CoversCPEs(ctx)
	}
	return ok, err
}

func (c *coverage) owned(p *pkg.Package, owner *evidence.Package) evidence.Unmatched {
	about := c.packageOf(p)
	return evidence.Unmatched{Package: &about, Reason: evidence.OwnedByDistribution, Detail: owner.Name + " " + owner.Version, Owner: owner.PURL}
}

// addVersion adds package p to the unmatched packages if its version cannot be compared, with the
// reason.
func (c *coverage) addVersion(ctx context.Context, p *pkg.Package, to *[]evidence.Unmatched) error {
	reason, detail := incomparable(*p)
	if reason == "" {
		return nil
	}
	if owner := c.ownerOf(p); owner != nil {
		one := c.owned(p, owner)
		same := func(u evidence.Unmatched) bool { // The package is already listed because the database has no advisory for its type.
			return u.Reason == one.Reason && u.Package.Name == one.Package.Name && slices.Equal(u.Package.Found, one.Package.Found)
		}
		if !slices.ContainsFunc(*to, same) {
			*to = append(*to, one)
		}
		return nil
	}
	about := c.packageOf(p)
	u := evidence.Unmatched{Package: &about, Reason: reason, Detail: detail}
	if cataloged := c.cataloged[p.ID]; cataloged != nil && reason != evidence.MainModule {
		if c.modules == nil {
			c.modules = catalog.VersionedModules(c.sbom.SyftPackages())
		}
		if purl := catalog.PartOf(cataloged, c.modules); purl != "" {
			u.Reason, u.Detail, u.Owner = evidence.PartOfPackage, "", purl
		} else if own, err := c.isOwn(ctx, p, cataloged); err != nil {
			return err
		} else if own {
			u.Reason, u.Detail = evidence.FirstParty, ""
		}
	}
	*to = append(*to, u)
	return nil
}

// isOwn reports whether a package is one of the application's own packages. A package whose name
// has advisories in the database does not count as own, because it can be a vulnerable package
// whose version is missing.
func (c *coverage) isOwn(ctx context.Context, p *pkg.Package, cataloged *syftpkg.Package) (bool, error) {
	if !catalog.LooksOwn(cataloged) {
		return false, nil
	}
	names := append(c.db.Provider().PackageSearchNames(*p), p.Name)
	for _, l := range catalog.Evidence(cataloged) {
		if base := path.Base(l.RealPath); p.Type == syftpkg.JavaPkg {
			names = append(names, strings.TrimSuffix(base, path.Ext(base)))
		}
	}
	known, err := c.db.HasAdvisories(ctx, p.Type, names...)
	return !known, err
}

// packageOf converts a package to evidence, with the locations of the files that describe it. For a
// jar inside an archive, the location is the path of the archive, a colon, and the path in the
// archive.
func (c *coverage) packageOf(p *pkg.Package) evidence.Package {
	out := evidence.Package{Name: p.Name, Version: p.Version, Type: string(p.Type), PURL: p.PURL}
	cataloged := c.cataloged[p.ID]
	if cataloged == nil {
		return packageOf(*p)
	}
	for _, l := range catalog.Evidence(cataloged) {
		found := evidence.Location{Path: l.RealPath, Layer: l.FileSystemID}
		if m, ok := cataloged.Metadata.(syftpkg.JavaArchive); ok && c.sbom.OwnerOf(l.RealPath) == nil {
			if inside, nested := strings.CutPrefix(m.VirtualPath, l.RealPath+":"); nested {
				found.Path += ":" + inside
			}
		}
		out.Found = append(out.Found, found)
	}
	return out
}

// matchedByName returns the package types that matchers search only by name. They also search all
// other types by CPE.
func matchedByName() map[syftpkg.Type]bool {
	types := map[syftpkg.Type]bool{}
	for _, m := range strictMatchers() {
		for _, t := range m.PackageTypes() {
			types[t] = true
		}
	}
	return types
}

// someOf sorts the names, removes duplicates, and joins the first three with commas. It adds the
// number of the other names.
func someOf(names []string) string {
	const most = 3
	slices.Sort(names)
	names = slices.Compact(names)
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

// osPackageTypes returns the types of operating system packages in an SBOM, sorted.
func osPackageTypes(s *catalog.SBOM) []syftpkg.Type {
	var kinds []syftpkg.Type
	for _, p := range s.Packages {
		if kind := syftpkg.Type(p.Type); catalog.IsOSPackage(kind) && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

// nativeTypes lists the distributions that use each type of operating system package. If os-release
// names another distribution, packages would be looked up among advisories of the wrong type.
var nativeTypes = map[syftpkg.Type][]distro.Type{
	syftpkg.DebPkg: {distro.Debian, distro.Ubuntu, distro.Raspbian, distro.Echo},
	syftpkg.ApkPkg: {distro.Alpine, distro.Wolfi, distro.Chainguard, distro.MinimOS, distro.SecureOS, distro.PostmarketOS},
	syftpkg.RpmPkg: {distro.RedHat, distro.CentOS, distro.Fedora, distro.RockyLinux, distro.AlmaLinux, distro.OracleLinux,
		distro.AmazonLinux, distro.SLES, distro.OpenSuseLeap, distro.Mariner, distro.Azure, distro.Photon, distro.Scientific, distro.Hummingbird},
	syftpkg.AlpmPkg:    {distro.ArchLinux},
	syftpkg.PortagePkg: {distro.Gentoo},
}

// incomparable returns the reason why the version of a package cannot be compared with the version
// ranges of advisories, and a detail. The reason is empty if the version can be compared.
func incomparable(p pkg.Package) (evidence.UnmatchedReason, string) {
	if m, ok := p.Metadata.(pkg.GolangBinMetadata); ok && m.MainModule == p.Name && unversionedMain(p.Version) {
		return evidence.MainModule, "the Go program's own module has no released version"
	}
	if v := strings.TrimSpace(p.Version); v == "" || strings.EqualFold(v, "unknown") {
		return evidence.VersionUnknown, ""
	}
	format := pkg.VersionFormat(p)
	if err := version.New(p.Version, format).Validate(); err != nil {
		return evidence.VersionNotComparable, err.Error()
	}
	return "", ""
}

// unversionedMain reports whether grype's Go matcher ignores a main module with the version v.
func unversionedMain(v string) bool {
	return v == "" || strings.EqualFold(v, "unknown") || strings.HasPrefix(v, "v0.0.0-") || strings.HasPrefix(v, "(devel)")
}
