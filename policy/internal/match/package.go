package match

import "github.com/imagegate/imagegate/policy/evidence"

// PackagePURL returns the package's purl, for comparison with patterns. For a package without a
// purl, it returns pkg:type/name@version. Otherwise no pattern could deny such a package.
func PackagePURL(p *evidence.Package) PURL {
	if p.PURL != "" {
		return SplitPURL(p.PURL)
	}
	u := PURL{Name: "pkg:" + p.Type + "/" + p.Name}
	if p.Version != "" {
		u.Version = Part{Present: true, Text: p.Version}
	}
	return u
}
