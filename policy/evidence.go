package policy

import "time"

// Input is all evidence about one image, in the form that policies evaluate and reports print.
// It holds only plain data: no types of scanners, registries or clocks.
//
// An Input without platforms is incomplete and therefore denied.
type Input struct {
	Image     Image      `json:"image"`
	Platforms []Platform `json:"platforms"`
	Database  Database   `json:"database"`
	// Baseline holds the findings of the current approved image. It is nil if that image does not
	// exist or was not read; then no finding is inherited.
	Baseline *Baseline `json:"baseline,omitempty"`
	// VEX lists the statements from the image or from files. The policy decides which of them
	// count.
	VEX []VEXStatement `json:"vex,omitempty"`
	// Attestations lists the signatures and statements about the image in the staging registry by
	// signers that a policy names. Unverified is the number of the others, which do not verify with
	// any of these signers.
	Attestations []Attestation `json:"attestations,omitempty"`
	Unverified   int           `json:"unverified,omitempty"`
}

// Image identifies the image.
type Image struct {
	// Reference is the reference as the user wrote it, before it was resolved.
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
	// LazyIndexes lists the manifests of the index that some nodes read instead of the scanned
	// layers. They block, unless an exception covers "image.lazyIndexes".
	LazyIndexes []LazyIndex `json:"lazyIndexes,omitempty"`
}

// LazyIndex is a manifest that lists the files of an image for nodes that load it lazily.
type LazyIndex struct {
	// Digest is the digest of the manifest, "sha256:<hex>".
	Digest string `json:"digest"`
	// Kind is the format: "SOCI".
	Kind string `json:"kind"`
}

// Platform is the evidence about the image of one platform. An image that is not an index has
// exactly one.
type Platform struct {
	// Platform is os/arch or os/arch/variant, such as "linux/arm64/v8".
	Platform string `json:"platform"`
	// Digest is the digest of the platform's manifest.
	Digest       string       `json:"digest"`
	Distribution Distribution `json:"distribution"`
	Packages     []Package    `json:"packages"`
	Findings     []Finding    `json:"findings"`
	// Unknowns lists the places that the cataloger could not read.
	Unknowns []Unknown `json:"unknowns"`
	// Unmatched lists what could not be matched: packages, package types or the distribution.
	Unmatched []Unmatched `json:"unmatched"`
	// Suppressed lists the matches that the matcher dropped by its own data corrections. Reports
	// show them; policies do not evaluate them.
	Suppressed []Suppressed `json:"suppressed"`
	// Config is the image's configuration. Every image has one. Nil is incomplete evidence, and
	// blocks if a rule needs it.
	Config *ImageConfig `json:"config,omitempty"`
	// Size is the size of the configuration and the layers as they are pulled: compressed, in
	// bytes. Zero is incomplete evidence, and blocks if a rule needs it.
	Size int64 `json:"size,omitempty"`
	// Layers lists the layers, the lowest first. It may be empty.
	Layers []Layer `json:"layers,omitempty"`
	// Base is the base image that the image states, or nil if it states none.
	Base *Base `json:"base,omitempty"`
}

// Distribution is the operating system that the image states, with the data of the vulnerability
// database about it. The zero value means that the image has no readable os-release.
type Distribution struct {
	// ID and Version are the values ID and VERSION_ID of os-release, such as "debian" and "12".
	ID      string `json:"id,omitempty"`
	Version string `json:"version,omitempty"`
	// Name is PRETTY_NAME of os-release, for readers.
	Name string `json:"name,omitempty"`
	// EndOfLife is the first day without new advisories of the vendor. It is zero if the database
	// does not state it.
	EndOfLife time.Time `json:"endOfLife,omitzero"`
}

// Package is one cataloged package.
type Package struct {
	Name     string     `json:"name"`
	Version  string     `json:"version"`
	Type     string     `json:"type"` // syft's package type: "deb", "npm", "go-module"
	PURL     string     `json:"purl,omitempty"`
	Licenses []string   `json:"licenses,omitempty"` // SPDX expressions if known, otherwise as declared
	Found    []Location `json:"locations,omitempty"`
}

// Location is a place in the image.
type Location struct {
	Path string `json:"path"`
	// Layer is the diffID of the layer, "sha256:<hex>".
	Layer string `json:"layer,omitempty"`
}

// Finding is one vulnerability matched to one package of one platform.
type Finding struct {
	// ID is the identifier in the database for this package. Aliases are the other identifiers
	// (CVE, GHSA, vendor ids).
	ID      string   `json:"id"`
	Aliases []string `json:"aliases,omitempty"`
	// Package is the affected package, without its licenses.
	Package     Package   `json:"package"`
	Severity    Severity  `json:"severity"`
	CVSS        []CVSS    `json:"cvss,omitempty"`
	EPSS        *EPSS     `json:"epss,omitempty"`
	KEV         *KEV      `json:"kev,omitempty"`
	FixState    FixState  `json:"fixState"`
	Fixes       []Fix     `json:"fixes,omitempty"`
	Published   time.Time `json:"published,omitzero"` // zero if unknown
	URL         string    `json:"url,omitempty"`      // the page of the advisory
	Description string    `json:"description,omitempty"`
	Namespace   string    `json:"namespace,omitempty"` // the source in the database, such as "debian:distro:debian:12"
	Matched     []Match   `json:"matched"`
}

// CVSS is one score of a finding. A finding without scores is never treated as a low one.
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

// Fix is a version that fixes the finding.
type Fix struct {
	Version string `json:"version"`
	// Available is the first day that the version was available. It is zero if unknown.
	Available time.Time `json:"available,omitzero"`
}

// Match describes how a finding was matched.
type Match struct {
	Type       string `json:"type"`       // "exact-direct-match", "exact-indirect-match", "cpe-match"
	Matcher    string `json:"matcher"`    // "dpkg-matcher", "javascript-matcher"
	Constraint string `json:"constraint"` // the affected range as the database states it
	// Via is the source package or CPE that was looked up instead of the package itself. It is
	// empty if the package was looked up.
	Via string `json:"via,omitempty"`
}

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

// key returns the key of the class in the policy's section sbom.unknowns, or "" if there is none.
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

// key returns the key of the reason in the policy's section distribution.notCovered, or "" if there
// is none.
func (r UnmatchedReason) key() string {
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

// Database describes the vulnerability database and its origin.
type Database struct {
	Schema string    `json:"schema"` // such as "6.1.9"
	Built  time.Time `json:"built,omitzero"`
	// Digest is the SHA-256 of the database file, "sha256:<hex>".
	Digest string `json:"digest"`
	// Source is the origin of the database: a URL without credentials, or the base name of a file.
	Source    string     `json:"source,omitempty"`
	Providers []Provider `json:"providers"`
	// Advisories counts the advisories for the image: for its distribution and for each package
	// type. An empty list is incomplete evidence, and blocks.
	Advisories []Advisories `json:"advisories,omitempty"`
}

// Advisories is the number of advisories for one distribution or package type. An
// advisory that names several packages counts once for each.
type Advisories struct {
	// Distribution is id and version of os-release, such as "debian 12". It is empty for a package
	// type.
	Distribution string `json:"distribution,omitempty"`
	Type         string `json:"type,omitempty"` // such as "npm"
	Count        int    `json:"count"`
	// AtLeast means that there are more, which were not counted.
	AtLeast bool `json:"atLeast,omitempty"`
	// ByCPE means that the database lists no advisory under the type itself. Count is then the
	// number of all advisories by CPE, which can be about any type.
	ByCPE bool `json:"byCPE,omitempty"`
}

// Of names the counted group: "debian 12" or "npm packages".
func (a Advisories) Of() string {
	if a.Distribution != "" {
		return a.Distribution
	}
	return a.Type + " packages"
}

// Provider is one feed that a database was built from.
type Provider struct {
	Name     string    `json:"name"`
	Captured time.Time `json:"captured,omitzero"` // the time when its data was fetched from upstream
}
