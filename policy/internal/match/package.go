package match

import "github.com/imagegate/imagegate/policy/evidence"

// PackagePURL returns the package's purl, for comparison with patterns. A package without a purl
// gets pkg:type/name@version, because otherwise no pattern could deny it.
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
