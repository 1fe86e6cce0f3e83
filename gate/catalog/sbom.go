package catalog

import (
	"slices"
	"strings"
	"sync"

	syftpkg "github.com/anchore/syft/syft/pkg"
	"github.com/anchore/syft/syft/sbom"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/policy/evidence"
)

// SBOM is the software bill of materials of one platform's image.
type SBOM struct {
	// Digest is the digest of the manifest that was cataloged.
	Digest v1.Hash
	// Packages, Distribution and Unknowns are the evidence for the policy. Unknowns has every file
	// that a cataloger could not read, even if another cataloger found packages in it.
	Packages     []evidence.Package
	Distribution evidence.Distribution
	Unknowns     []evidence.Unknown
	// SPDX is an SPDX 2.3 JSON document, and CycloneDX a CycloneDX 1.6 JSON document. Both list
	// packages, not files. They are identical byte for byte for the same digest and tool versions.
	SPDX      []byte
	CycloneDX []byte

	syft *sbom.SBOM // the SBOM as syft returned it, the input of the matcher
	// sorted are syft's packages, sorted. They are stored here because syft copies every package
	// each time it returns the packages.
	sorted []syftpkg.Package
	// owners are the files that packages of the distribution own, sorted by path.
	owners []ownedFile

	// matching returns the encoded input of the matcher, until Load has decoded it.
	matching func() ([]byte, error)
	loading  sync.Mutex
}

// Syft returns the SBOM as syft generated it, with the relationships that the matcher uses. An SBOM
// from a cache needs [SBOM.Load] first. The caller must not change the result.
func (s *SBOM) Syft() *sbom.SBOM { return s.syft }

// SyftPackages returns the packages as syft cataloged them, sorted. An SBOM from a cache needs
// [SBOM.Load] first. The caller must not change the result.
func (s *SBOM) SyftPackages() []syftpkg.Package { return s.sorted }

// IsOSPackage reports whether the package manager of a distribution installs packages of this type.
func IsOSPackage(t syftpkg.Type) bool {
	switch t {
	case syftpkg.DebPkg, syftpkg.RpmPkg, syftpkg.PortagePkg, syftpkg.AlpmPkg, syftpkg.ApkPkg:
		return true
	}
	return false
}

// newSBOM returns an SBOM without documents. [Cataloger.Document] adds the documents.
func newSBOM(s *sbom.SBOM, digest v1.Hash) *SBOM {
	out := &SBOM{Digest: digest, Packages: []evidence.Package{}, Unknowns: unknowns(s), syft: s, sorted: s.Artifacts.Packages.Sorted()}
	for _, sp := range out.sorted {
		out.Packages = append(out.Packages, toPackage(sp))
	}
	if r := s.Artifacts.LinuxDistribution; r != nil {
		out.Distribution = evidence.Distribution{ID: r.ID, Version: r.VersionID, Name: r.PrettyName}
	}
	return out
}

func toPackage(p syftpkg.Package) evidence.Package {
	out := evidence.Package{Name: p.Name, Version: p.Version, Type: string(p.Type), PURL: p.PURL}
	for _, l := range p.Licenses.ToSlice() {
		if l.SPDXExpression != "" {
			out.Licenses = append(out.Licenses, l.SPDXExpression)
		} else if l.Value != "" {
			out.Licenses = append(out.Licenses, l.Value)
		}
	}
	for _, l := range p.Locations.ToSlice() {
		out.Found = append(out.Found, evidence.Location{Path: l.RealPath, Layer: l.FileSystemID})
	}
	return out
}

// unknowns converts syft's map of unreadable files to a sorted list. syft's reasons have the form
// "cataloger: error".
func unknowns(s *sbom.SBOM) []evidence.Unknown {
	out := []evidence.Unknown{}
	for at, reasons := range s.Artifacts.Unknowns {
		for _, reason := range reasons {
			u := evidence.Unknown{Location: evidence.Location{Path: at.RealPath, Layer: at.FileSystemID}, Reason: reason}
			if name, rest, ok := strings.Cut(reason, ": "); ok && !strings.ContainsAny(name, " /") {
				u.Cataloger, u.Reason = name, rest
			}
			out = append(out, u)
		}
	}
	slices.SortFunc(out, compareUnknowns)
	return out
}

func compareUnknowns(a, b evidence.Unknown) int {
	return strings.Compare(a.Path+"\x00"+a.Cataloger+"\x00"+a.Reason, b.Path+"\x00"+b.Cataloger+"\x00"+b.Reason)
}
