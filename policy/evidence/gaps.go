package evidence

// Unknown is a place that the cataloger found and could not read.
type Unknown struct {
	Location
	Cataloger string `json:"cataloger,omitempty"`
	Reason    string `json:"reason"`
	// Class is what the unreadable file could hide. An empty or unknown class is treated as
	// UnknownFile.
	Class UnknownClass `json:"class,omitempty"`
	// Package is the purl of the cataloged package that the file belongs to. It is empty if there
	// is none.
	Package string `json:"package,omitempty"`
}

// UnknownClass is what an unreadable file could hide.
type UnknownClass string

const (
	// UnknownPackageDatabase: the database of a package manager. All its packages
	// may be missing from the SBOM.
	UnknownPackageDatabase UnknownClass = "package database"
	// UnknownArchive: an archive that can hold packages, such as a jar or a wheel.
	UnknownArchive UnknownClass = "archive"
	// UnknownFile: any other file.
	UnknownFile UnknownClass = "file"
	// UnknownTestData: a file in the test data of a cataloged package. It is part of
	// that package and not a package itself.
	UnknownTestData UnknownClass = "test data"
	// UnknownOwned: a package of the distribution installed the file, and the file has
	// the checksum that the package database records. The distribution's advisories
	// cover it, so it never blocks.
	UnknownOwned UnknownClass = "owned by a distribution package"
)

// Unmatched is a package that the database or the matchers cannot answer for. It can also be all
// packages of a type or, if it names neither, a whole distribution. A lack of findings then does
// not mean a lack of vulnerabilities.
type Unmatched struct {
	Package *Package `json:"package,omitempty"`
	// Type is the package type if the reason is TypeNotInDatabase. Packages is then the number of
	// packages of that type that cannot be matched.
	Type     string          `json:"type,omitempty"`
	Packages int             `json:"packages,omitempty"`
	Reason   UnmatchedReason `json:"reason"`
	Detail   string          `json:"detail,omitempty"`
	// Owner is the purl of the package that contains this package, if the reason is
	// OwnedByDistribution or PartOfPackage.
	Owner string `json:"owner,omitempty"`
}

// UnmatchedReason is the reason why something could not be matched.
type UnmatchedReason string

const (
	// NoDistribution: there are OS packages, but the os-release is missing or unreadable.
	NoDistribution UnmatchedReason = "no distribution"
	// DistributionNotInDatabase: the database has no advisories for this
	// distribution or release.
	DistributionNotInDatabase UnmatchedReason = "distribution not in database"
	// TypeNotInDatabase: the database has no advisories for any package of this type, such as npm.
	TypeNotInDatabase UnmatchedReason = "package type not in database"
	// VersionUnknown: the package has no version.
	VersionUnknown UnmatchedReason = "version unknown"
	// VersionNotComparable: the version does not follow the version scheme of its ecosystem.
	VersionNotComparable UnmatchedReason = "version not comparable"
	// MainModule: the module of a Go program itself, built without a released
	// version. Its dependencies are matched. The program is the author's own, so it
	// blocks only if the policy asks for that.
	MainModule UnmatchedReason = "main module without version"
	// FirstParty: an application's own package without a released version, such as a
	// private package.json or the application's jar. It blocks only if the policy
	// asks for that.
	FirstParty UnmatchedReason = "first-party package without version"
	// PartOfPackage: the file describes a part of another package, such as a
	// package.json without version in a folder of an npm package. That package is
	// matched, so this never blocks.
	PartOfPackage UnmatchedReason = "part of another package"
	// OwnedByDistribution: a package of the distribution installed the file, and the
	// file has the checksum that the package database records. The distribution's
	// advisories cover it, so this never blocks.
	OwnedByDistribution UnmatchedReason = "owned by a distribution package"
	// NothingCataloged: no package was found in an image that has files.
	NothingCataloged UnmatchedReason = "nothing cataloged"
)

// EvaluatedElsewhere reports whether the matching of another package covers it, so that the evidence
// is complete.
func (r UnmatchedReason) EvaluatedElsewhere() bool {
	return r == OwnedByDistribution || r == PartOfPackage
}
