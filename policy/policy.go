// Package policy turns YAML into a Policy and evidence into a Decision.
//
// The path through it: [Parse] reads a policy file strictly, every error with
// its file, line and column; [Policy.Evaluate] judges an [Input] at a given
// time; [Policy.Lint] says what in a valid policy is dead. All are pure: no
// file, clock, registry or scanner is touched, so the same arguments always give
// the same result.
//
// Evaluation is monotone: adding a finding, raising a severity, or removing or
// expiring an exception never turns a denial into a pass. What is left out of
// a policy takes its strict value.
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
	// Digest is the SHA-256 of the file's bytes, "sha256:<hex>".
	Digest string `json:"digest"`

	Rules        []Rule           `json:"rules"`
	Database     DatabaseRule     `json:"database"`
	Distribution DistributionRule `json:"distribution"`
	SBOM         SBOMRule         `json:"sbom"`
	Exceptions   []Exception      `json:"exceptions"`
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
type Rule struct {
	Name     string   `json:"name"` // unique within the policy
	Position Position `json:"position"`
	Effect   Effect   `json:"effect"`
	// Severity is the least severity that matches. SeverityUnknown, the
	// value when left out, matches everything. A finding of unknown severity
	// reaches every threshold.
	Severity Severity `json:"severity"`
	Fix      Fixable  `json:"fix,omitempty"`
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

// DatabaseRule limits the age of the vulnerability database.
type DatabaseRule struct {
	Position Position `json:"position,omitzero"`
	// MaxAge bounds the age of the build and of each provider's data: a
	// fresh build of old data is old. Data is too old from the instant at
	// which it has this age. Zero means DefaultMaxAge.
	MaxAge time.Duration `json:"maxAge"`
}

// DistributionRule says what happens to images whose operating system the
// database cannot answer for. Both block where left out.
type DistributionRule struct {
	Position Position `json:"position,omitzero"`
	// EndOfLife: the vendor publishes no more advisories.
	EndOfLife Effect `json:"endOfLife"`
	// NotCovered: packages that could not be matched, for any
	// UncoveredReason.
	NotCovered Effect `json:"notCovered"`
}

// SBOMRule says how complete an SBOM must be.
type SBOMRule struct {
	Position Position `json:"position,omitzero"`
	// Unknowns is what happens when the cataloger could not read something.
	Unknowns Effect `json:"unknowns"`
	// MinPackages is the least number of packages on every platform.
	MinPackages int `json:"minPackages"`
}

// Exception lets one finding pass for a while. Reason, owner and expiry are
// mandatory: an exception that nobody owns or that never ends is a hole.
type Exception struct {
	Position Position `json:"position"`
	// ID is the finding's id or one of its aliases.
	ID string `json:"id"`
	// Package is a pattern over the package's purl, Image one over the
	// repository; empty matches all. "*" stands for any run of characters.
	// A purl is compared part by part: a pattern without version, qualifiers
	// or subpath matches any, and one with qualifiers matches a purl that has
	// at least these. "%40" and "@" are the same; letter case counts.
	Package string `json:"package,omitempty"`
	Image   string `json:"image,omitempty"`
	Reason  string `json:"reason"`
	Owner   string `json:"owner"`
	// Expires is the first instant at which it no longer applies. A bare
	// date in the file means midnight UTC at the start of that day.
	Expires time.Time `json:"expires"`
}
