package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/internal/builtin"
	"github.com/imagegate/imagegate/policy/internal/coverage"
)

// Decision is the result of evaluating one Input. The zero value is a denial.
//
// Every finding of the input is in exactly one of Violations, Warnings, Excepted, NotAffected and
// Allowed. If several rules match a finding, one decides: the first that blocks now, else the one
// whose grace period ends first, else the first that would block if the finding were not inherited,
// else the first that warns.
//
// Evaluate sets every list except Provenance, even if the list is empty. Entries about the whole
// image come first, then the entries of each platform. Findings are ordered by severity: unknown
// first, then critical, and negligible last. The order of the input has no influence.
type Decision struct {
	// Passed is true only if Violations is empty.
	Passed bool `json:"passed"`
	// Violations lists everything that blocks, not only the first violation.
	Violations []Violation `json:"violations"`
	// Warnings lists the findings and other results that do not block: because of the rule's
	// effect, during the rule's grace period, or because the finding is inherited. It also lists
	// warnings about the policy itself, such as an unused exception.
	Warnings []Violation `json:"warnings"`
	// Excepted lists the violations that an exception lets pass.
	Excepted []Excepted `json:"excepted"`
	// NotAffected lists the findings that a rule matched and that a VEX statement removed.
	NotAffected []NotAffected `json:"notAffected"`
	// Provenance lists the attestations that satisfied the rules about provenance, one for each
	// rule and platform.
	Provenance []ProvenanceMatch `json:"provenance,omitempty"`
	// Allowed lists the findings that no rule matched.
	Allowed []Allowed `json:"allowed"`
	// Until is the first instant when the decision about the same input could differ under the same
	// policy. For example, an exception in use expires, a grace period ends, the database or the
	// image becomes too old, or a distribution reaches its end of life. Zero means never. Until
	// then Evaluate returns the same Decision. From then on, the result must not be reused.
	Until time.Time `json:"until,omitzero"`
	// TimeDependent means that a custom rule reads the clock. The result can change at any later
	// instant and must not be reused.
	TimeDependent bool `json:"timeDependent,omitempty"`
}

// Effect is the consequence of matching a rule. The zero value is Block.
type Effect uint8

const (
	// Block denies the image.
	Block Effect = iota
	// Warn reports a warning and lets the image pass.
	Warn
)

// String returns "block" or "warn".
func (e Effect) String() string {
	switch e {
	case Block:
		return "block"
	case Warn:
		return "warn"
	}
	return fmt.Sprintf("effect(%d)", uint8(e))
}

// MarshalText writes "block" or "warn".
func (e Effect) MarshalText() ([]byte, error) {
	if e != Block && e != Warn {
		return nil, fmt.Errorf("effect %d has no name", uint8(e))
	}
	return []byte(e.String()), nil
}

// UnmarshalText accepts only "block" and "warn".
func (e *Effect) UnmarshalText(text []byte) error {
	switch string(text) {
	case "block":
		*e = Block
	case "warn":
		*e = Warn
	default:
		return fmt.Errorf("unknown effect %q: expected block or warn", text)
	}
	return nil
}

// Kind is the topic of a violation. Reports group by it.
type Kind string

// The kinds of violation.
const (
	KindVulnerability Kind = "vulnerability"
	KindDatabase      Kind = "database"
	KindDistribution  Kind = "distribution"
	KindCoverage      Kind = "coverage" // packages that could not be matched
	KindSBOM          Kind = "sbom"     // files that could not be cataloged, or too few packages
	KindEvidence      Kind = "evidence" // incomplete evidence, or a missing policy
	KindException     Kind = "exception"
	KindLicense       Kind = "license"
	KindPackage       Kind = "package"
	KindImage         Kind = "image" // the way the image is built
	KindProvenance    Kind = "provenance"
	KindScope         Kind = "scope" // an image that no scope of the policy matches
)

// Violation is one reason to deny the image. In Decision.Warnings, it is one reason for a warning.
type Violation struct {
	Kind Kind `json:"kind"`
	// Rule is the name of the rule, or the path of a built-in rule in the policy file, such as
	// "database.maxAge".
	Rule string `json:"rule"`
	// Position is the place of the rule in the policy. It is zero for a built-in rule whose section
	// is not in the policy file.
	Position Position `json:"position,omitzero"`
	// Scope lists the image patterns of the scope that sets the rule. It is empty if no scope sets
	// the rule. If a scope sets a built-in rule, Position is the position of the scope.
	Scope string `json:"scope,omitempty"`
	// Platform is empty if the violation is about the whole image.
	Platform string `json:"platform,omitempty"`
	// Message describes the violation in one sentence, without a full stop at the end. It may quote
	// text from the image: sanitize it before printing.
	Message string `json:"message"`

	Finding *evidence.Finding `json:"finding,omitempty"`
	// Package is the package that a rule about licenses or packages matched.
	Package   *evidence.Package   `json:"package,omitempty"`
	Unknown   *evidence.Unknown   `json:"unknown,omitempty"`
	Unmatched *evidence.Unmatched `json:"unmatched,omitempty"`
	// Blocks is the end of the rule's grace period, when the finding begins to block. It is zero if
	// the finding is not in a grace period.
	Blocks time.Time `json:"blocks,omitzero"`
	// Inherited means that the finding is only a warning, because the current approved image also
	// has it.
	Inherited bool `json:"inherited,omitempty"`
	// Check is the key of the unmet condition of a rule about the image or its provenance, such as
	// "notRoot" or "signature".
	Check string `json:"check,omitempty"`
	// Unevaluated means that the rule could not be evaluated. No exception covers such a violation.
	Unevaluated bool `json:"unevaluated,omitempty"`
	// Expired lists the expired exceptions that match the violation.
	Expired []Exception `json:"expired,omitempty"`
}

// effectKey returns the path of the key that sets the effect of v: the name of the rule, or the
// class or reason below it, such as "sbom.unknowns.archive".
func (v *Violation) effectKey() string {
	switch {
	case v.Unknown != nil:
		return v.Rule + "." + coverage.ClassKey(v.Unknown.Class)
	case v.Unmatched != nil:
		return v.Rule + "." + coverage.ReasonKey(v.Unmatched.Reason)
	}
	return v.Rule
}

// CanBeExcepted reports whether an exception could cover v. An exception names a finding by the id
// of its vulnerability, and any other violation by the name of the rule.
func (v *Violation) CanBeExcepted() bool {
	if v.Unevaluated {
		return false
	}
	switch v.Kind {
	case KindVulnerability:
		return v.Finding != nil
	case KindDatabase, KindDistribution, KindCoverage, KindSBOM:
		return slices.Contains(builtin.Excepted, v.Rule)
	case KindEvidence, KindException, KindScope:
		return false
	}
	return true
}

// Excepted is a violation that would block, and the exception that covers it. Finding is nil if the
// exception names a rule.
type Excepted struct {
	Violation
	Exception Exception `json:"exception"`
}

// NotAffected is a finding that would block or warn, and the VEX statement that removes it.
type NotAffected struct {
	Violation
	Statement evidence.VEXStatement `json:"statement"`
}

// Allowed is a finding that no rule matched.
type Allowed struct {
	Platform string           `json:"platform"`
	Finding  evidence.Finding `json:"finding"`
}
