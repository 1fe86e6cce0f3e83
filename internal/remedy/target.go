package remedy

import (
	"cmp"
	"strings"

	"github.com/imagegate/imagegate/internal/versions"
	"github.com/imagegate/imagegate/policy/evidence"
)

// IsStdlib reports whether p is the Go standard library that was compiled into a program.
func IsStdlib(p evidence.Package) bool { return p.Type == "go-module" && p.Name == "stdlib" }

// Targets returns the lowest version that fixes all findings of a package. For the Go standard
// library, newest is a version of a newer Go release line that also fixes them, because a program
// rarely depends on one release line. Both are "" if a finding has no fix, or if the versions
// cannot be compared.
func Targets(p evidence.Package, findings []*evidence.Finding) (target, newest string) {
	fixes := make([][]string, len(findings))
	var all []string
	for i, f := range findings {
		if f.FixState != evidence.FixAvailable {
			return "", ""
		}
		for _, fix := range f.Fixes {
			fixes[i] = append(fixes[i], fix.Version)
		}
		all = append(all, fixes[i]...)
	}
	purlType := purlType(p)
	target, err := versions.Upgrade(purlType, p.Version, fixes)
	if err != nil {
		return "", ""
	}
	if highest, err := versions.Highest(purlType, all); IsStdlib(p) && err == nil && highest != target && !strings.ContainsAny(highest, "-r") {
		newest = highest
	}
	return target, newest
}

// purlTypes maps syft's package types to package URL types. Types with equal names are not listed.
var purlTypes = map[string]string{
	"python": "pypi", "go-module": "golang", "java-archive": "maven", "rust-crate": "cargo", "dotnet": "nuget",
	"php-composer": "composer", "dart-pub": "pub",
}

// purlType returns the package URL type of a package, which determines how versions are compared.
func purlType(p evidence.Package) string {
	if rest, ok := strings.CutPrefix(p.PURL, "pkg:"); ok {
		name, _, _ := strings.Cut(rest, "/")
		return name
	}
	return cmp.Or(purlTypes[p.Type], p.Type)
}
