package evidence

// Unknown is a file that a cataloger found but could not read.
type Unknown struct {
	Location
	Cataloger string `json:"cataloger,omitempty"`
	Reason    string `json:"reason"`
	// Class is the kind of content that the unreadable file could hide. An empty or unknown class
	// is treated as UnknownFile.
	Class UnknownClass `json:"class,omitempty"`
	// Package is the purl of the cataloged package that the file belongs to. It is empty if the
	// file belongs to no package.
	Package string `json:"package,omitempty"`
}

// UnknownClass is the kind of content that an unreadable file could hide.
type UnknownClass string

const (
	// UnknownPackageDatabase is the database of a package manager. All packages in the database may
	// be missing from the SBOM.
	UnknownPackageDatabase UnknownClass = "package database"
	// UnknownArchive is an archive that can hold packages, such as a jar or a wheel.
	UnknownArchive UnknownClass = "archive"
	// UnknownFile is any other file.
	UnknownFile UnknownClass = "file"
	// UnknownTestData is a file in the test data of a cataloged package. The file is part of that
	// package and is not a package itself.
	UnknownTestData UnknownClass = "test data"
	// UnknownOwned is an unchanged file that a package of the distribution installed: it has the
	// checksum in the package database. The distribution's advisories cover the file, so it never
	// blocks.
	UnknownOwned UnknownClass = "owned by a distribution package"
)

// Unmatched is a package that could not be matched with advisories. With Type instead of Package,
// it stands for all packages of that type. With neither, it stands for the distribution or the
// whole image. In all these cases, no findings does not mean no vulnerabilities.
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
	// NoDistribution means that the image has packages of a distribution, but no readable
	// os-release.
	NoDistribution UnmatchedReason = "no distribution"
	// DistributionNotInDatabase means that the database has no advisories for this distribution or
	// release.
	DistributionNotInDatabase UnmatchedReason = "distribution not in database"
	// TypeNotInDatabase means that the database has no advisories for any package of this type,
	// such as npm.
	TypeNotInDatabase UnmatchedReason = "package type not in database"
	// VersionUnknown means that the package has no version.
	VersionUnknown UnmatchedReason = "version unknown"
	// VersionNotComparable means that the version does not follow the version scheme of its
	// ecosystem.
	VersionNotComparable UnmatchedReason = "version not comparable"
	// MainModule means that the package is the main module of a Go program, built without a
	// released version. It is the image author's own code, so it blocks only if the policy says so.
	// The dependencies of the module are matched.
	MainModule UnmatchedReason = "main module without version"
	// FirstParty means that the package is the application's own, without a released version, such
	// as a private package.json or the application's jar. It blocks only if the policy says so.
	FirstParty UnmatchedReason = "first-party package without version"
	// PartOfPackage means that the package is part of another package, such as a package.json
	// without version in a folder of an npm package. The other package is matched, so this never
	// blocks.
	PartOfPackage UnmatchedReason = "part of another package"
	// OwnedByDistribution means that a package of the distribution installed the package's file,
	// and that the file is unchanged: it has the checksum in the package database. The
	// distribution's advisories cover it, so this never blocks.
	OwnedByDistribution UnmatchedReason = "owned by a distribution package"
	// NothingCataloged means that no package was found in an image that has files.
	NothingCataloged UnmatchedReason = "nothing cataloged"
)

// EvaluatedElsewhere reports whether the package belongs to another package whose advisories also
// cover it. Such an entry is not a gap in the evidence.
func (r UnmatchedReason) EvaluatedElsewhere() bool {
	return r == OwnedByDistribution || r == PartOfPackage
}
