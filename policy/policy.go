// Package policy turns YAML into a Policy and evidence into a Decision.
//
// The path through it: [Parse] reads a policy file strictly, every error with
// its file, line and column; [Set.Evaluate] judges an [Input] by one or several
// at a given time; [Policy.Lint] says what in a valid policy is dead. All are pure: no
// file, clock, registry or scanner is touched, so the same arguments always give
// the same result.
//
// Evaluation is monotone: adding a finding, raising a severity, learning that it
// is exploited, taking something from the baseline or from what is signed about
// provenance, adding a policy, or removing or expiring an exception of a policy that [Policy.Validate] accepts never turns
// a denial into a pass. What is left out of a policy takes its strict value.
package policy

import (
	"fmt"
	"time"
)

// Policy is a parsed and validated policy file. The zero value has no rules
// and passes nothing.
type Policy struct {
	// File is the name under which it was parsed, for messages.
	File string `json:"file"`
	// Digest stands for all that the policy says, "sha256:<hex>": the SHA-256
	// of the file's bytes, or, once there are files of exceptions beside it,
	// that of the lines "sha256:<hex>\n" of all files, the policy's first and
	// then in the order in which they were added.
	Digest string `json:"digest"`
	// Files are all files of the policy, itself first, once there are several.
	Files []File `json:"files,omitempty"`

	// Name identifies the policy in signed decisions. It stays the same when the
	// policy is edited, so that "verify --policy-name" accepts each version. Default:
	// the name of the file without its folder. Example: "name: production".
	Name string `json:"name,omitempty"`

	// Rules say which findings block and which only warn. Mandatory, and at
	// least one. Example: "rules: [{name: no critical, severity: critical}]".
	Rules []Rule `json:"rules"`
	// Licenses say which licenses of packages block and which only warn; none
	// does where left out.
	// Example: "licenses: [{name: no copyleft, deny: [GPL-*, AGPL-*]}]".
	Licenses []LicenseRule `json:"licenses,omitempty"`
	// Packages say which packages an image may not have, must have, or must
	// have in a version that is not too old; none does where left out.
	// Example: "packages: [{name: no telnet, deny: pkg:deb/*/telnet*}]".
	Packages []PackageRule `json:"packages,omitempty"`
	// Image says how an image must be made; anyhow where left out. It is a list
	// of rules. Example: "image: [{name: not as root, notRoot: true}]".
	Image []ImageRule `json:"image,omitempty"`
	// Custom are rules whose conditions are expressions; none where left out.
	// Example: `custom: [{name: no telnet, each: package, when: 'pkg.name == "telnetd"'}]`.
	Custom []CustomRule `json:"custom,omitempty"`
	// Database limits the vulnerability database; see there for what applies
	// where it is left out. Example: "database: {maxAge: 2d}".
	Database DatabaseRule `json:"database"`
	// Distribution is about images whose operating system the database cannot
	// answer for, and about those that are wanted; the first are denied where
	// it is left out, and all are wanted.
	// Example: "distribution: {endOfLife: warn}".
	Distribution DistributionRule `json:"distribution"`
	// SBOM says how complete an SBOM must be; what cannot be read denies where
	// it is left out. Example: "sbom: {minPackages: 1}".
	SBOM SBOMRule `json:"sbom"`
	// Baseline lets findings that block only warn where the image now under the
	// approved tag has them too, so that what made nothing worse can be
	// released: "approved", or nothing where left out. Never inherited are what
	// is known to be exploited, for which the database must have the provider
	// "kev", and what a rule with ids blocks. Example: "baseline: approved".
	Baseline Inheritance `json:"baseline,omitempty"`
	// BaselineMaxAge is how old the decision about the approved image may be for its
	// findings to be inherited. Default: 90d. Example: "baselineMaxAge: 30d".
	BaselineMaxAge time.Duration `json:"baselineMaxAge,omitempty"`
	// Signers are those whom this policy believes, by the names that provenance,
	// carry and vex use; nobody where left out. It differs for no image.
	// Example: "signers: [{name: ci, issuer: https://token.actions.githubusercontent.com, subject: https://github.com/example/*}]".
	Signers []SignerRule `json:"signers,omitempty"`
	// Provenance says who must have signed what about the image before it is
	// gated; nobody where left out.
	// Example: "provenance: [{name: built by us, signers: [ci], source: https://github.com/example/*}]".
	Provenance []ProvenanceRule `json:"provenance,omitempty"`
	// Carry says what signed about the image where it is staged goes with it into the
	// approved registry; nothing where left out.
	// Example: "carry: [{type: https://slsa.dev/provenance/v1, signers: [ci]}]".
	Carry []CarryRule `json:"carry,omitempty"`
	// VEX says whose VEX statements take findings away; nobody's where left
	// out. Example: "vex: {accept: [not_affected], signers: [security team]}".
	VEX VEXRule `json:"vex,omitzero"`
	// Exceptions let single findings, or what single rules say, pass for a
	// while; none where left out. In the file it is a list, or a mapping of
	// maxLifetime, folder and list.
	// Example: "exceptions: [{id: CVE-2024-0001, reason: not reachable, owner: team-a, expires: 2026-12-31}]".
	Exceptions []Exception `json:"exceptions"`
	// ExceptionsMaxLifetime is how far ahead an exception may end; zero, where
	// left out, means any time. Example: "exceptions: {maxLifetime: 90d}".
	ExceptionsMaxLifetime time.Duration `json:"exceptionsMaxLifetime,omitempty"`
	// ExceptionsFolder names a folder with files of exceptions, with slashes
	// and relative to the policy's own folder; empty means none. Whoever reads
	// the policy reads them too, see AddExceptions.
	// Example: "exceptions: {folder: exceptions}".
	ExceptionsFolder string `json:"exceptionsFolder,omitempty"`
	// Images say what is different for some images, in the file's order. None
	// where left out.
	// Example: "images: [{match: registry.example/legacy/*, sbom: {unknowns: warn}}]".
	Images []Scope `json:"images,omitempty"`
	// UnmatchedImages says what happens to an image for which no scope of Images
	// is: allow judges it by the policy itself, deny denies it. Default: allow.
	// Example: "unmatchedImages: deny".
	UnmatchedImages UnmatchedImages `json:"unmatchedImages,omitempty"`
	// Override says who may let an image through nevertheless; nobody where
	// left out.
	// Example: "override: {maxLifetime: 24h, approvers: [oncall@example.com]}".
	Override OverrideRule `json:"override,omitzero"`
	// Decision says how long a decision by this policy is valid. It differs for no
	// image. Example: "decision: {maxAge: 7d}".
	Decision DecisionRule `json:"decision,omitzero"`
}

// File is a file that belongs to a policy.
type File struct {
	Name string `json:"name"`
	// Digest is the SHA-256 of its bytes, "sha256:<hex>".
	Digest string `json:"digest"`
}

// Position is a place in a policy file. Line and Column count from 1; the zero
// value means nowhere.
type Position struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String returns file:line:column.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Rule matches findings. Its conditions are joined by "and"; one that is left
// out matches everything.
//
// Of several rules that match a finding the first that blocks now decides, else
// the one whose grace ends first, else the first that warns.
type Rule struct {
	// Name is mandatory and unique within the policy. Reports show it.
	// Example: "name: no critical".
	Name     string   `json:"name"`
	Position Position `json:"position"`
	// Effect is what happens to an image with a finding that matches; block
	// where left out. Example: "effect: warn".
	Effect Effect `json:"effect"`
	// Severity is the least severity that matches: negligible, low, medium,
	// high or critical. SeverityUnknown, the value when left out, matches
	// everything. A finding of unknown severity reaches every threshold.
	// Example: "severity: high".
	Severity Severity `json:"severity"`
	// Fix matches findings with a repaired version, "available", or without
	// one, "unavailable"; both where left out. Example: "fix: available".
	Fix Fixable `json:"fix,omitempty"`
	// KEV matches only what is in CISA's catalog of known exploited
	// vulnerabilities. The database must have the provider "kev", or the image
	// is denied. Only true can be written. Example: "kev: true".
	KEV bool `json:"kev,omitempty"`
	// EPSS is the least predicted probability of exploitation that matches; a
	// finding without one reaches every threshold. The database must have the
	// provider "epss", or the image is denied.
	// Example: "epss: {percentile: 0.95}".
	EPSS EPSSThreshold `json:"epss,omitzero"`
	// CVSS is the least base score that matches, of several scores by the
	// highest; a finding without one reaches every threshold. More than 0, at
	// most 10. Example: "cvss: 9.0".
	CVSS float64 `json:"cvss,omitempty"`
	// Package matches only findings in such packages.
	// Example: "package: {type: deb, name: openssl*}".
	Package PackageCondition `json:"package,omitzero"`
	// IDs matches only these vulnerabilities, by id or alias in any letter
	// case. Example: "ids: [CVE-2021-44228, CVE-2021-45046]".
	IDs []string `json:"ids,omitempty"`
	// Grace is how long a rule that blocks only warns: from the earliest day on
	// which a repaired version could be had, else from publication, up to but
	// not including the instant that is so much later. There is none, where
	// left out, for a finding with neither date, for dates in the future, and
	// for what is known to be exploited; so that the last can be told, the
	// database must have the provider "kev". Example: "grace: 14d".
	Grace time.Duration `json:"grace,omitempty"`
}

// EPSSThreshold is the least EPSS that matches. Zero is no condition; with both
// set a finding must reach both.
type EPSSThreshold struct {
	// Score is the probability itself, more than 0 and at most 1. Example:
	// "epss: {score: 0.1}".
	Score float64 `json:"score,omitempty"`
	// Percentile is the share of all vulnerabilities with a lower probability,
	// more than 0 and at most 1. Example: "epss: {percentile: 0.95}".
	Percentile float64 `json:"percentile,omitempty"`
}

// PackageCondition matches packages; every condition that is not empty must
// hold. "*" stands for any run of characters, and letter case counts.
type PackageCondition struct {
	// Type is a pattern over the package's type in the SBOM, such as deb, npm
	// or go-module. Example: "package: {type: npm}".
	Type string `json:"type,omitempty"`
	// Name is a pattern over its name. Example: "package: {name: openssl*}".
	Name string `json:"name,omitempty"`
	// PURL is a pattern over its purl, compared part by part as that of an
	// exception. Example: "package: {purl: pkg:npm/lodash}".
	PURL string `json:"purl,omitempty"`
}

// Fixable is a rule's condition on the existence of a repaired version.
type Fixable string

const (
	// FixableAny matches every finding.
	FixableAny Fixable = ""
	// FixableYes matches findings with a known repaired version: the vendor
	// says "fixed", or names the version.
	FixableYes Fixable = "available"
	// FixableNo matches findings without one: not fixed, won't be fixed, or
	// nobody said.
	FixableNo Fixable = "unavailable"
)

// DefaultMaxAge is how old a database may be where the policy does not say:
// five days, grype's own limit.
const DefaultMaxAge = 120 * time.Hour

// DatabaseRule limits the age of the vulnerability database, where it may come
// from, and how few advisories it may have.
type DatabaseRule struct {
	Position Position `json:"position,omitzero"`
	// MaxAge bounds the age of the build and of each provider's data: a
	// fresh build of old data is old. Data is too old from the instant at
	// which it has this age. Five days, DefaultMaxAge, where left out or zero.
	// Example: "maxAge: 36h".
	MaxAge time.Duration `json:"maxAge"`
	// Origins are patterns over where the database comes from, its URL or the
	// name of its file; "*" stands for any run of characters. Any will do where
	// left out; else one that matches none, or of which nobody knows, blocks.
	// Example: "origins: [https://mirror.example/grype/*]".
	Origins []string `json:"origins,omitempty"`
	// MinAdvisories is the least number of advisories that the database must have for
	// the image's distribution, and for each package type in the image. An advisory
	// that names several packages counts once for each. More than 0. Default: one
	// advisory for any of them, so that an empty database and one for other
	// distributions deny. A full database has thousands of advisories for a
	// distribution and tens to thousands for a package type.
	// Example: "minAdvisories: 10".
	MinAdvisories int `json:"minAdvisories,omitempty"`
}

// DistributionRule says what happens to images whose operating system the
// database cannot answer for or the policy does not want.
type DistributionRule struct {
	Position Position `json:"position,omitzero"`
	// EndOfLife is what happens when the vendor publishes no more advisories;
	// block where left out. Example: "endOfLife: warn".
	EndOfLife Effect `json:"endOfLife"`
	// NotCovered is the effect of packages that could not be matched. One effect sets
	// distribution, packageType and version; a mapping sets each reason by itself.
	// Default: block, and warn for first-party packages. Example: "notCovered: warn".
	NotCovered CoverageEffects `json:"notCovered,omitzero"`
	// Allow are patterns over id and version of os-release with a space
	// between, or the id alone for a distribution without versions; "*" stands
	// for any run of characters. All are allowed where left out; else an image
	// without any distribution is not. Example: "allow: [debian 12, alpine 3.*]".
	Allow []string `json:"allow,omitempty"`
	// NotAllowed is what happens to an image whose distribution Allow does not
	// have; block where left out. Example: "notAllowed: warn".
	NotAllowed Effect `json:"notAllowed,omitempty"`
}

// SBOMRule says how complete an SBOM must be.
type SBOMRule struct {
	Position Position `json:"position,omitzero"`
	// Unknowns is the effect of files that the cataloger could not read. One effect sets
	// packageDatabase, archive and file; a mapping sets each kind of file by itself.
	// Default: block, and warn for test data. Example: "unknowns: warn".
	Unknowns UnknownEffects `json:"unknowns,omitzero"`
	// MinPackages is the least number of packages on every platform; 0 where
	// left out, though nothing lets an image without package and distribution
	// pass. Example: "minPackages: 10".
	MinPackages int `json:"minPackages"`
}

// Exception lets one finding, or what one rule says, pass for a while. Reason,
// owner and expiry are mandatory: an exception that nobody owns or that never
// ends is a hole. Exactly one of ID and Rule is set.
type Exception struct {
	Position Position `json:"position"`
	// ID is the finding's id or one of its aliases, in any letter case.
	// Example: "id: CVE-2024-0001".
	ID string `json:"id,omitempty"`
	// Rule is the name of a rule that is not about vulnerabilities: one of the
	// sections licenses, packages, image, custom or provenance, or the path of a key,
	// such as distribution.endOfLife. What that rule blocks passes.
	// Example: "rule: no telnet".
	Rule string `json:"rule,omitempty"`
	// Package is a pattern over the package's purl; empty matches all, as well
	// as what is about no package. "*" stands for any run of characters. A purl
	// is compared part by part: a pattern without version, qualifiers or
	// subpath matches any, and one with qualifiers matches a purl that has at
	// least these. "%40" and "@" are the same; letter case counts.
	// For distribution.notCovered, a violation about a package type or a distribution
	// is covered only if the pattern matches all of its packages, such as "pkg:npm/*".
	// For sbom.unknowns, the pattern matches the package that the file belongs to.
	// Example: "package: pkg:npm/lodash@4.*".
	Package string `json:"package,omitempty"`
	// Path is a pattern over the path of a file, for the rules distribution.notCovered
	// and sbom.unknowns. It covers a package if all of its files match. The pattern
	// matches the full path from the root of the image: "*" and "?" match within a
	// folder, "**" matches any number of folders. A file inside an archive has the
	// archive's path, a colon and its path in there. Default: any path.
	// Example: "path: /srv/app/**/package.json".
	Path string `json:"path,omitempty"`
	// Image is a pattern over the repository, compared as "match" of a scope is;
	// empty matches all.
	// Example: "image: registry.example/team/*".
	Image string `json:"image,omitempty"`
	// Reason says why it is safe to let this pass. Mandatory.
	// Example: "reason: only the tests use it".
	Reason string `json:"reason"`
	// Owner is who answers for it. Mandatory. Example: "owner: team-a".
	Owner string `json:"owner"`
	// Ticket is where the repair is followed up, for people; may be empty.
	// Example: "ticket: SEC-123".
	Ticket string `json:"ticket,omitempty"`
	// Expires is the first instant at which it no longer applies. Mandatory. A
	// bare date in the file means midnight UTC at the start of that day.
	// Example: "expires: 2026-12-31".
	Expires time.Time `json:"expires"`
}
