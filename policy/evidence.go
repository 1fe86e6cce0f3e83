package policy

import "time"

// Input is all the evidence about one image, in the form that the policy
// judges and the report prints. It holds plain data only: no scanner, registry
// or clock types.
//
// An Input without platforms is incomplete and therefore denied.
type Input struct {
	Image     Image      `json:"image"`
	Platforms []Platform `json:"platforms"`
	Database  Database   `json:"database"`
	// Baseline is what the image under the approved tag has; nil where there is
	// none or nobody looked, so that nothing is inherited.
	Baseline *Baseline `json:"baseline,omitempty"`
	// VEX are the statements that came with the image or in files. Whether one
	// counts is for the policy to say.
	VEX []VEXStatement `json:"vex,omitempty"`
	// Attestations are what was signed about the image where it is staged, by
	// somebody whom a policy names, and Unverified how much more there is that
	// verifies for none of them.
	Attestations []Attestation `json:"attestations,omitempty"`
	Unverified   int           `json:"unverified,omitempty"`
}

// Image names what is gated.
type Image struct {
	// Reference is what the user wrote, before it was resolved.
	Reference string `json:"reference"`
	// Repository is the registry and repository without tag and digest, such
	// as "registry.example/team/app"; for an image outside registries, transport
	// and path, such as "oci:builds/app". Image patterns are matched against its
	// canonical form.
	Repository string `json:"repository"`
	// Digest is the digest of the index or manifest, "sha256:<hex>".
	Digest string `json:"digest"`
	// MediaType is the media type of the index or manifest.
	MediaType string `json:"mediaType"`
	// LazyIndexes lists the manifests of the index that some nodes read instead of the layers
	// that were scanned. They block, unless an exception covers "image.lazyIndexes".
	LazyIndexes []LazyIndex `json:"lazyIndexes,omitempty"`
}

// LazyIndex is a manifest that lists the files of an image for nodes that load it lazily.
type LazyIndex struct {
	// Digest is the digest of the manifest, "sha256:<hex>".
	Digest string `json:"digest"`
	// Kind is the format: "SOCI".
	Kind string `json:"kind"`
}

// Platform is the evidence about one platform's image. An image that is not an
// index has exactly one.
type Platform struct {
	// Platform is os/arch or os/arch/variant, such as "linux/arm64/v8".
	Platform string `json:"platform"`
	// Digest is the digest of the platform's manifest.
	Digest       string       `json:"digest"`
	Distribution Distribution `json:"distribution"`
	Packages     []Package    `json:"packages"`
	Findings     []Finding    `json:"findings"`
	// Unknowns is what the cataloger saw and could not read.
	Unknowns []Unknown `json:"unknowns"`
	// Uncovered is what was cataloged and could not be matched.
	Uncovered []Uncovered `json:"uncovered"`
	// Suppressed is what the matcher found and dropped by rules of its own.
	// It is shown, and judged by nobody: those rules are data corrections.
	Suppressed []Suppressed `json:"suppressed"`
	// Config is the image's configuration. Every image has one: nil is
	// incomplete evidence, and blocks where a rule needs it.
	Config *ImageConfig `json:"config,omitempty"`
	// Size is that of the configuration and the layers as they are pulled,
	// compressed, in bytes. Zero is incomplete evidence, and blocks where a rule
	// needs it.
	Size int64 `json:"size,omitempty"`
	// Layers are listed lowest first; there may be none.
	Layers []Layer `json:"layers,omitempty"`
	// Base is what the image says it was built on; nil where it does not say.
	Base *Base `json:"base,omitempty"`
}

// Distribution is the operating system that the image says it is, with what
// the vulnerability database knows of it. The zero value means that the image
// has no readable os-release.
type Distribution struct {
	// ID and Version are ID and VERSION_ID of os-release: "debian", "12".
	ID      string `json:"id,omitempty"`
	Version string `json:"version,omitempty"`
	// Name is PRETTY_NAME, for people.
	Name string `json:"name,omitempty"`
	// EndOfLife is the day from which the vendor publishes no more
	// advisories; zero where the database does not say.
	EndOfLife time.Time `json:"endOfLife,omitzero"`
}

// Package is one cataloged package.
type Package struct {
	Name     string     `json:"name"`
	Version  string     `json:"version"`
	Type     string     `json:"type"` // syft's package type: "deb", "npm", "go-module"
	PURL     string     `json:"purl,omitempty"`
	Licenses []string   `json:"licenses,omitempty"` // SPDX expressions where known, else as declared
	Found    []Location `json:"locations,omitempty"`
}

// Location is where in the image something was found.
type Location struct {
	Path string `json:"path"`
	// Layer is the diffID of the layer, "sha256:<hex>".
	Layer string `json:"layer,omitempty"`
}

// Finding is one vulnerability matched to one package of one platform.
type Finding struct {
	// ID is the identifier under which the database lists it for this
	// package; Aliases are the others (CVE, GHSA, vendor ids).
	ID      string   `json:"id"`
	Aliases []string `json:"aliases,omitempty"`
	// Package is the affected package, licenses left out.
	Package     Package   `json:"package"`
	Severity    Severity  `json:"severity"`
	CVSS        []CVSS    `json:"cvss,omitempty"`
	EPSS        *EPSS     `json:"epss,omitempty"`
	KEV         *KEV      `json:"kev,omitempty"`
	FixState    FixState  `json:"fixState"`
	Fixes       []Fix     `json:"fixes,omitempty"`
	Published   time.Time `json:"published,omitzero"` // zero where unknown
	URL         string    `json:"url,omitempty"`      // the advisory's page
	Description string    `json:"description,omitempty"`
	Namespace   string    `json:"namespace,omitempty"` // the database's source, such as "debian:distro:debian:12"
	Matched     []Match   `json:"matched"`
}

// CVSS is one score of a finding. A finding without any has no score; it is
// never taken for a low one.
type CVSS struct {
	Version string  `json:"version"`
	Vector  string  `json:"vector"`
	Score   float64 `json:"score"` // base score, 0 to 10
	Source  string  `json:"source,omitempty"`
}

// EPSS is the predicted probability of exploitation within 30 days.
type EPSS struct {
	Score      float64   `json:"score"`      // 0 to 1
	Percentile float64   `json:"percentile"` // 0 to 1
	Date       time.Time `json:"date,omitzero"`
}

// KEV is an entry in CISA's catalog of known exploited vulnerabilities.
type KEV struct {
	Added      time.Time `json:"added,omitzero"`
	Due        time.Time `json:"due,omitzero"`
	Ransomware bool      `json:"ransomware,omitempty"`
}

// Fix is a version in which the finding is repaired.
type Fix struct {
	Version string `json:"version"`
	// Available is the day on which the version could first be had; zero
	// where unknown.
	Available time.Time `json:"available,omitzero"`
}

// Match says how a finding was matched.
type Match struct {
	Type       string `json:"type"`       // "exact-direct-match", "exact-indirect-match", "cpe-match"
	Matcher    string `json:"matcher"`    // "dpkg-matcher", "javascript-matcher"
	Constraint string `json:"constraint"` // the affected range, as the database states it
	// Via is the source package or CPE that was looked up where that was not
	// the package itself.
	Via string `json:"via,omitempty"`
}

// Unknown is a place that the cataloger saw and could not read.
type Unknown struct {
	Location
	Cataloger string `json:"cataloger,omitempty"`
	Reason    string `json:"reason"`
	// Class says what the unreadable file could hide. An empty or unknown class is
	// treated as UnknownFile.
	Class UnknownClass `json:"class,omitempty"`
	// Package is the purl of the cataloged package that the file belongs to; empty if
	// it belongs to none.
	Package string `json:"package,omitempty"`
}

// UnknownClass says what an unreadable file could hide.
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

// key is the key of the class in the policy's section sbom.unknowns, or "" if no key
// applies.
func (c UnknownClass) key() string {
	switch c {
	case UnknownPackageDatabase:
		return "packageDatabase"
	case UnknownArchive:
		return "archive"
	case UnknownTestData:
		return "testData"
	case UnknownOwned:
		return ""
	}
	return "file"
}

// Uncovered is a package, all packages of a type, or, if it names neither, a whole
// distribution that the database or the matchers cannot answer for: no findings is
// then not a clean bill.
type Uncovered struct {
	Package *Package `json:"package,omitempty"`
	// Type is the package type if the reason is TypeNotInDatabase, and Packages the
	// number of packages of that type that cannot be matched.
	Type     string          `json:"type,omitempty"`
	Packages int             `json:"packages,omitempty"`
	Reason   UncoveredReason `json:"reason"`
	Detail   string          `json:"detail,omitempty"`
	// Owner is the purl of the package that the package is part of, if the reason is
	// OwnedByDistribution or PartOfPackage.
	Owner string `json:"owner,omitempty"`
}

// UncoveredReason says why something could not be matched.
type UncoveredReason string

const (
	// NoDistribution: there are OS packages and no readable os-release.
	NoDistribution UncoveredReason = "no distribution"
	// DistributionNotInDatabase: the database has no advisories for this
	// distribution or release.
	DistributionNotInDatabase UncoveredReason = "distribution not in database"
	// TypeNotInDatabase: the database has no advisories for packages of this type,
	// such as npm, in whatever package.
	TypeNotInDatabase UncoveredReason = "package type not in database"
	// VersionUnknown: the package has no version.
	VersionUnknown UncoveredReason = "version unknown"
	// VersionNotComparable: the version does not follow the scheme by which
	// its ecosystem compares versions.
	VersionNotComparable UncoveredReason = "version not comparable"
	// MainModule: the module of a Go program itself, built without a released
	// version. Its dependencies are matched. The program is the author's own, so it
	// blocks only if the policy asks for that.
	MainModule UncoveredReason = "main module without version"
	// FirstParty: an application's own package without a released version, such as a
	// private package.json or the application's jar. It blocks only if the policy
	// asks for that.
	FirstParty UncoveredReason = "first-party package without version"
	// PartOfPackage: the file describes a part of another package, such as a
	// package.json without version in a folder of an npm package. That package is
	// matched, so this never blocks.
	PartOfPackage UncoveredReason = "part of another package"
	// OwnedByDistribution: a package of the distribution installed the file, and the
	// file has the checksum that the package database records. The distribution's
	// advisories cover it, so this never blocks.
	OwnedByDistribution UncoveredReason = "owned by a distribution package"
	// NothingCataloged: no package was found in an image that has files.
	NothingCataloged UncoveredReason = "nothing cataloged"
)

// JudgedElsewhere reports whether the matching of another package covers it, so that
// nothing is missing from the evidence.
func (r UncoveredReason) JudgedElsewhere() bool {
	return r == OwnedByDistribution || r == PartOfPackage
}

// key is the key of the reason in the policy's section distribution.notCovered, or ""
// if no key applies.
func (r UncoveredReason) key() string {
	switch r {
	case NoDistribution, DistributionNotInDatabase, NothingCataloged:
		return "distribution"
	case TypeNotInDatabase:
		return "packageType"
	case VersionUnknown, VersionNotComparable:
		return "version"
	case MainModule, FirstParty:
		return "firstParty"
	}
	return ""
}

// Suppressed is a match that the matcher itself dropped.
type Suppressed struct {
	Finding Finding `json:"finding"`
	Reason  string  `json:"reason"`
}

// Database is the provenance of the vulnerability database.
type Database struct {
	Schema string    `json:"schema"` // "6.1.9"
	Built  time.Time `json:"built,omitzero"`
	// Digest is the SHA-256 of the database file, "sha256:<hex>".
	Digest string `json:"digest"`
	// Source is where it came from: a URL without credentials, or a file's
	// base name.
	Source    string     `json:"source,omitempty"`
	Providers []Provider `json:"providers"`
	// Advisories says how much the database has for the image: for its distribution
	// and for each package type. None is incomplete evidence, and blocks.
	Advisories []Advisories `json:"advisories,omitempty"`
}

// Advisories is the number of advisories for one distribution or package type. An
// advisory that names several packages counts once for each.
type Advisories struct {
	// Distribution is id and version of os-release, "debian 12"; empty for a type.
	Distribution string `json:"distribution,omitempty"`
	Type         string `json:"type,omitempty"` // "npm"
	Count        int    `json:"count"`
	// AtLeast: there are more, and they were not counted.
	AtLeast bool `json:"atLeast,omitempty"`
	// ByCPE: the database lists nothing under the type itself. Count is then the
	// number of all advisories by CPE, which can be about any type.
	ByCPE bool `json:"byCPE,omitempty"`
}

// Of names what is counted: "debian 12" or "npm packages".
func (a Advisories) Of() string {
	if a.Distribution != "" {
		return a.Distribution
	}
	return a.Type + " packages"
}

// Provider is one feed that went into a database.
type Provider struct {
	Name     string    `json:"name"`
	Captured time.Time `json:"captured,omitzero"` // when its data was fetched from upstream
}
