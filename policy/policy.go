// Package policy turns YAML into a Policy, and evidence into a Decision.
//
// [Parse] reads a policy file strictly, and reports every error with its file, line and column.
// [Set.Evaluate] evaluates one or more policies on an [evidence.Input] at a given time. The result
// is a [Decision]; its zero value is a denial. Both are pure: they use no file, clock, registry or
// scanner, so the same arguments always give the same result.
//
// Packages below this one use policies and decisions: format writes a policy, lint reports its
// parts without effect, suite tests policies, explain says why a decision lists an entry and what
// would let it pass, and diff compares two decisions.
//
// Evaluation is monotone. Adding a finding, raising a severity, learning that a vulnerability is
// exploited or adding a policy never turns a denial into a pass. Neither does removing a finding
// from the baseline or removing signed provenance. For a policy that [Policy.Validate] accepts,
// neither does removing an exception, nor its expiry. A key that a policy leaves out has its strict
// value.
package policy

import (
	"fmt"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
)

// Policy is a parsed and validated policy file. The zero value has no rules and denies every image.
type Policy struct {
	// File is the name under which the policy was parsed, for messages.
	File string `json:"file"`
	// Digest identifies the whole content of the policy, "sha256:<hex>". It is the SHA-256 of the
	// file's bytes. After AddExceptions it is the SHA-256 of the lines "sha256:<hex>\n" of all
	// files: the policy's own first, then the others in the order of the calls.
	Digest string `json:"digest"`
	// Files lists all files of the policy, its own first. It is empty if the policy has only one
	// file.
	Files []File `json:"files,omitempty"`

	// Name identifies the policy in signed decisions. Keep the name when you edit the policy:
	// "verify --policy-name" then accepts decisions by every version. Default: the name of the
	// policy file, without its folder. Example: "name: production".
	Name string `json:"name,omitempty"`

	// Rules lists the rules about findings: which ones block and which ones only warn. Mandatory,
	// at least one rule. Example: "rules: [{name: no critical, severity: critical}]".
	Rules []Rule `json:"rules"`
	// Licenses lists the rules about licenses of packages: which ones block and which ones only
	// warn. Default: none. Example: "licenses: [{name: no copyleft, deny: [GPL-*, AGPL-*]}]".
	Licenses []LicenseRule `json:"licenses,omitempty"`
	// Packages lists the rules about packages that an image must not have, must have, or must have
	// in a minimum version. Default: none. Example: "packages: [{name: no telnet, deny:
	// pkg:deb/*/telnet*}]".
	Packages []PackageRule `json:"packages,omitempty"`
	// Image lists the rules about how an image is built. Default: none. Example: "image: [{name:
	// not as root, notRoot: true}]".
	Image []ImageRule `json:"image,omitempty"`
	// Custom lists the rules whose conditions are expressions. Default: none. Example: `custom:
	// [{name: no telnet, each: package, when: 'pkg.name == "telnetd"'}]`.
	Custom []CustomRule `json:"custom,omitempty"`
	// Database limits the age, the origin and the content of the vulnerability database. Default:
	// see DatabaseRule. Example: "database: {maxAge: 2d}".
	Database DatabaseRule `json:"database"`
	// Distribution sets what happens to an image whose distribution is at its end of life, is not
	// covered by the database, or is not allowed. Default: the first two cases block, and every
	// distribution is allowed. Example: "distribution: {endOfLife: warn}".
	Distribution DistributionRule `json:"distribution"`
	// SBOM sets how complete an SBOM must be. Default: files that could not be read block. Example:
	// "sbom: {minPackages: 1}".
	SBOM SBOMRule `json:"sbom"`
	// Baseline turns a finding that would block into a warning, if the image that currently has the
	// approved tag also has the finding. Two kinds of findings still block: known exploited
	// vulnerabilities, and findings that a rule with ids blocks. The database must have the
	// provider "kev", or the image is denied. The only value is "approved". Default: no baseline.
	// Example: "baseline: approved".
	Baseline Inheritance `json:"baseline,omitempty"`
	// BaselineMaxAge is the maximum age of the decision about the approved image. If the decision is
	// older, the baseline is ignored, so its findings block again. Default: 90d.
	// Example: "baselineMaxAge: 30d".
	BaselineMaxAge time.Duration `json:"baselineMaxAge,omitempty"`
	// Signers lists the signers that this policy trusts. The sections provenance, copyAttestations
	// and vex refer to a signer by its name. A scope cannot change the signers. Default: none.
	// Example: "signers: [{name: ci, issuer: https://token.actions.githubusercontent.com, subject:
	// https://github.com/example/*}]".
	Signers []SignerRule `json:"signers,omitempty"`
	// Provenance lists the signatures and provenance statements that the image must have in the
	// staging registry. Default: none. Example: "provenance: [{name: built by us, signers: [ci],
	// source: https://github.com/example/*}]".
	Provenance []ProvenanceRule `json:"provenance,omitempty"`
	// CopyAttestations lists the attestations that are copied from the staging registry to the
	// approved registry. Default: none. Example: "copyAttestations: [{type:
	// https://slsa.dev/provenance/v1, signers: [ci]}]".
	CopyAttestations []CopyRule `json:"copyAttestations,omitempty"`
	// VEX sets which VEX statements remove findings. Default: none. Example: "vex: {accept:
	// [not_affected], signers: [security team]}".
	VEX VEXRule `json:"vex,omitzero"`
	// Exceptions lists the exceptions. Each lets one finding, or the violations of one rule, pass
	// until a date. The value is a list of exceptions, or a mapping with the keys maxLifetime,
	// folder and list. Default: none. Example: "exceptions: [{id: CVE-2024-0001, reason: not
	// reachable, owner: team-a, expires: 2026-12-31}]".
	Exceptions []Exception `json:"exceptions"`
	// ExceptionsMaxLifetime limits how far in the future an exception may expire. Default: no
	// limit. Example: "exceptions: {maxLifetime: 90d}".
	ExceptionsMaxLifetime time.Duration `json:"exceptionsMaxLifetime,omitempty"`
	// ExceptionsFolder names a folder that contains files of exceptions. imagegate reads these
	// files together with the policy. The path uses slashes and is relative to the folder of the
	// policy. In the Go API, Parse does not read the files: pass each file to AddExceptions.
	// Default: none. Example: "exceptions: {folder: exceptions}".
	ExceptionsFolder string `json:"exceptionsFolder,omitempty"`
	// Images lists the scopes. A scope changes the policy for some images only. Matching scopes
	// apply in the order of the file. Default: none. Example: "images: [{match:
	// registry.example/legacy/*, sbom: {unknowns: warn}}]".
	Images []Scope `json:"images,omitempty"`
	// UnmatchedImages sets what happens to an image that no scope in "images" matches. With allow,
	// the rules outside "images" decide. With deny, the image is denied. Default: allow. Example:
	// "unmatchedImages: deny".
	UnmatchedImages UnmatchedImages `json:"unmatchedImages,omitempty"`
	// Override sets who may let a denied image through, and for how long. Default: overrides are
	// not allowed. Example: "override: {maxLifetime: 24h, approvers: [oncall@example.com]}".
	Override OverrideRule `json:"override,omitzero"`
	// Decision limits how long a decision by this policy is valid. A scope cannot change this
	// section. Default: no limit. Example: "decision: {maxAge: 7d}".
	Decision DecisionRule `json:"decision,omitzero"`
}

// File is a file that belongs to a policy.
type File struct {
	Name string `json:"name"`
	// Digest is the SHA-256 of the file's bytes, "sha256:<hex>".
	Digest string `json:"digest"`
}

// Position is a place in a policy file. Line and Column count from 1. The zero value is an unknown
// place.
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

// Rule matches findings. A finding must meet all conditions of the rule. A condition that is left
// out matches every finding.
//
// If several rules match a finding, one rule decides. It is the first of these that exists:
//
//   - the first rule that blocks now
//   - the rule whose grace period ends first
//   - the first rule that warns
type Rule struct {
	// Name identifies the rule in reports. Mandatory, unique within the policy. Example: "name: no
	// critical".
	Name     string   `json:"name"`
	Position Position `json:"position"`
	// Effect sets what happens to an image with a matching finding. Default: block. Example:
	// "effect: warn".
	Effect Effect `json:"effect"`
	// Severity sets the minimum severity of matching findings: negligible, low, medium, high or
	// critical. A finding of unknown severity matches every minimum. Default: every severity.
	// Example: "severity: high".
	Severity evidence.Severity `json:"severity"`
	// Fix matches only findings with a fixed version ("available"), or only findings without a
	// fixed version ("unavailable"). Default: both. Example: "fix: available".
	Fix Fixable `json:"fix,omitempty"`
	// KEV matches only vulnerabilities in CISA's catalog of known exploited vulnerabilities. The
	// database must have the provider "kev", or the image is denied. The only value is true.
	// Example: "kev: true".
	KEV bool `json:"kev,omitempty"`
	// EPSS sets the minimum EPSS, the predicted probability of exploitation. A finding without EPSS
	// matches every minimum. The database must have the provider "epss", or the image is denied.
	// Example: "epss: {percentile: 0.95}".
	EPSS EPSSThreshold `json:"epss,omitzero"`
	// CVSS sets the minimum CVSS base score, more than 0 and at most 10. If a finding has several
	// scores, the highest score counts. A finding without a score matches every minimum. Example:
	// "cvss: 9.0".
	CVSS float64 `json:"cvss,omitempty"`
	// Package matches only findings in packages that meet these conditions. Default: every package.
	// Example: "package: {type: deb, name: openssl*}".
	Package PackageCondition `json:"package,omitzero"`
	// IDs matches only these vulnerabilities, by id or alias. Letter case is ignored. Example:
	// "ids: [CVE-2021-44228, CVE-2021-45046]".
	IDs []string `json:"ids,omitempty"`
	// Grace sets a grace period, during which a rule that would block only warns. The period starts
	// on the first day when a fixed version was available. If that day is unknown, the period
	// starts on the day when the vulnerability was published. A finding has no grace period if both
	// dates are unknown or in the future, or if the vulnerability is known to be exploited. The
	// database must have the provider "kev", or the image is denied. Default: no grace period.
	// Example: "grace: 14d".
	Grace time.Duration `json:"grace,omitempty"`
}

// EPSSThreshold is a minimum EPSS. If both score and percentile are set, a finding must reach both.
type EPSSThreshold struct {
	// Score sets the minimum probability of exploitation, more than 0 and at most 1. Default: no
	// minimum. Example: "epss: {score: 0.1}".
	Score float64 `json:"score,omitempty"`
	// Percentile sets the minimum EPSS percentile, more than 0 and at most 1: the share of all
	// vulnerabilities whose probability of exploitation is lower. Default: no minimum. Example:
	// "epss: {percentile: 0.95}".
	Percentile float64 `json:"percentile,omitempty"`
}

// PackageCondition matches packages that meet all of its conditions. In a pattern, "*" matches any
// characters. Upper and lower case differ.
type PackageCondition struct {
	// Type matches packages whose type in the SBOM, such as deb, npm or go-module, matches this
	// pattern. Default: every type. Example: "package: {type: npm}".
	Type string `json:"type,omitempty"`
	// Name matches packages whose name matches this pattern. Default: every name. Example:
	// "package: {name: openssl*}".
	Name string `json:"name,omitempty"`
	// PURL matches packages whose purl matches this purl pattern. Default: every purl. Example:
	// "package: {purl: pkg:npm/lodash}".
	PURL string `json:"purl,omitempty"`
}

// Fixable is a rule's condition on whether a fixed version exists.
type Fixable string

const (
	// FixableAny matches every finding.
	FixableAny Fixable = ""
	// FixableYes matches findings with a fixed version: the vendor's fix state is "fixed", or the
	// vendor names the version.
	FixableYes Fixable = "available"
	// FixableNo matches all other findings: not fixed yet, will not be fixed, or unknown.
	FixableNo Fixable = "unavailable"
)

// DefaultMaxAge is the maximum age of a database if the policy does not set one: five days, grype's
// own limit.
const DefaultMaxAge = 120 * time.Hour

// DatabaseRule limits the age and the origin of the vulnerability database, and sets how many
// advisories it must have.
type DatabaseRule struct {
	Position Position `json:"position,omitzero"`
	// MaxAge limits the time since the database was built, and the time since the data of each
	// provider was captured. So a new build of old data also counts as old. A database or data of
	// exactly this age is too old. Default: five days. Example: "maxAge: 36h".
	MaxAge time.Duration `json:"maxAge"`
	// Origins lists patterns for the origin of the database: its URL, or the name of its file. "*"
	// matches any characters. The image is denied if no pattern matches the origin, or if the
	// origin is unknown. Default: every origin. Example: "origins:
	// [https://mirror.example/grype/*]".
	Origins []string `json:"origins,omitempty"`
	// MinAdvisories sets the minimum number of advisories that the database must have for the
	// image's distribution, and for each package type in the image. The number must be more than 0.
	// An advisory that names several packages counts once for each package. A full database has
	// thousands of advisories for a distribution, and tens to thousands for a package type.
	// Default: one advisory for the distribution or for any package type, so that an empty
	// database, or a database for other distributions only, denies the image. Example:
	// "minAdvisories: 10".
	MinAdvisories int `json:"minAdvisories,omitempty"`
}

// DistributionRule sets what happens to an image whose distribution is at its end of life, is not
// covered by the database, or is not allowed.
type DistributionRule struct {
	Position Position `json:"position,omitzero"`
	// EndOfLife sets the effect if the vendor publishes no more advisories for the distribution.
	// Default: block. Example: "endOfLife: warn".
	EndOfLife Effect `json:"endOfLife"`
	// NotCovered sets the effect of packages that could not be matched with advisories. The value
	// is one effect for distribution, packageType and version, or a mapping with a separate effect
	// for each reason. Default: block, and warn for first-party packages. Example: "notCovered:
	// warn".
	NotCovered CoverageEffects `json:"notCovered,omitzero"`
	// Allow lists patterns for the allowed distributions. A pattern is compared with the ID and
	// VERSION_ID of os-release, such as "debian 12", or with the ID alone if the distribution has
	// no version. "*" matches any characters. If allow is set, an image without a distribution is
	// not allowed. Default: every distribution. Example: "allow: [debian 12, alpine 3.*]".
	Allow []string `json:"allow,omitempty"`
	// NotAllowed sets the effect of a distribution that matches no pattern in "allow". Default:
	// block. Example: "notAllowed: warn".
	NotAllowed Effect `json:"notAllowed,omitempty"`
}

// SBOMRule sets how complete an SBOM must be.
type SBOMRule struct {
	Position Position `json:"position,omitzero"`
	// Unknowns sets the effect of files that the cataloger could not read. The value is one effect
	// for packageDatabase, archive and file, or a mapping with a separate effect for each kind of
	// file. Default: block, and warn for test data. Example: "unknowns: warn".
	Unknowns UnknownEffects `json:"unknowns,omitzero"`
	// MinPackages sets the minimum number of packages on every platform. An image without packages
	// and without a distribution is always denied. Default: 0. Example: "minPackages: 10".
	MinPackages int `json:"minPackages"`
}

// Exception lets one finding, or the violations of one rule, pass until a date. Set exactly one of
// id and rule. Reason, owner and expiry date are mandatory, so that someone is responsible for
// every exception and none lasts forever.
//
// A purl pattern, in an exception and in every rule, is compared with the purl of a package part by
// part. The parts are the name (everything before "@"), the version, the qualifiers and the
// subpath:
//
//   - "*" matches any characters within one part.
//   - A part that the pattern leaves out, such as the version, matches any value.
//   - A pattern with qualifiers matches purls that have at least these qualifiers.
//   - "%40" and "@" are equal.
//   - Upper and lower case differ.
type Exception struct {
	Position Position `json:"position"`
	// ID names the finding, by its id or an alias. Letter case is ignored. Example: "id:
	// CVE-2024-0001".
	ID string `json:"id,omitempty"`
	// Rule names a rule that is not about vulnerabilities. The name is the name of a rule in the
	// sections licenses, packages, image, custom or provenance, or the path of a key, such as
	// distribution.endOfLife. Violations of the named rule pass. Example: "rule: no telnet".
	Rule string `json:"rule,omitempty"`
	// Package limits the exception to packages whose purl matches this purl pattern. For
	// distribution.notCovered, a violation about a package type or a distribution is covered only
	// if the pattern matches all packages of the type or distribution, such as "pkg:npm/*". For
	// sbom.unknowns, the pattern is compared with the package that contains the unreadable file.
	// Default: every package, and violations that are not about a package. Example: "package:
	// pkg:npm/lodash@4.*".
	Package string `json:"package,omitempty"`
	// Path limits the exception to files whose path matches this pattern, for the rules
	// distribution.notCovered and sbom.unknowns. The exception covers a package only if all files
	// of the package match. The pattern is compared with the full path from the root of the image:
	// "*" and "?" match within a folder, "**" matches any number of folders. The path of a file
	// inside an archive is the path of the archive, a colon and the path within the archive.
	// Default: every path. Example: "path: /srv/app/**/package.json".
	Path string `json:"path,omitempty"`
	// Image limits the exception to repositories that match this pattern. The pattern is compared
	// like a pattern in "match" of a scope. Default: every image. Example: "image:
	// registry.example/team/*".
	Image string `json:"image,omitempty"`
	// Reason explains why the exception is safe. Mandatory. Example: "reason: only the tests use
	// it".
	Reason string `json:"reason"`
	// Owner names the person or team that is responsible for the exception. Mandatory. Example:
	// "owner: team-a".
	Owner string `json:"owner"`
	// Ticket names the ticket about the fix. imagegate only shows the ticket. Default: none.
	// Example: "ticket: SEC-123".
	Ticket string `json:"ticket,omitempty"`
	// Expires sets the first instant when the exception no longer applies. A date without a time
	// means the start of that day, 00:00 UTC. Mandatory. Example: "expires: 2026-12-31".
	Expires time.Time `json:"expires"`
}
