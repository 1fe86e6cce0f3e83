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
// Evaluate leaves none of the lists nil. It orders them: entries about the whole image first, then
// each platform, with findings by severity and unknown before critical. The order of the input has
// no influence.
type Decision struct {
	// Passed is true only if Violations is empty.
	Passed bool `json:"passed"`
	// Violations lists everything that blocks, not only the first violation.
	Violations []Violation `json:"violations"`
	// Warnings lists the findings and other results that a rule only warns about: by its effect,
	// during its grace period, or because the finding is inherited. It also lists warnings about
	// the policy itself, such as an unused exception.
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
		return fmt.Errorf("unknown effect %q: want block or warn", text)
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
	KindCoverage      Kind = "coverage" // something could not be matched
	KindSBOM          Kind = "sbom"     // something could not be cataloged
	KindEvidence      Kind = "evidence" // the input itself is incomplete
	KindException     Kind = "exception"
	KindLicense       Kind = "license"
	KindPackage       Kind = "package"
	KindImage         Kind = "image" // how the image is built
	KindProvenance    Kind = "provenance"
	KindScope         Kind = "scope" // the policy has no scope for the image
)

// Violation is one reason to deny or, in Decision.Warnings, to warn.
type Violation struct {
	Kind Kind `json:"kind"`
	// Rule is the name of the rule, or the path of a built-in rule in the policy file, such as
	// "database.maxAge".
	Rule string `json:"rule"`
	// Position is the place of the rule in the policy. It is zero for a default that the policy
	// does not set.
	Position Position `json:"position,omitzero"`
	// Scope lists the patterns of the scope that the rule comes from. It is empty for a rule of the
	// policy itself. Position is then the place of the scope, unless the rule has a place of its
	// own.
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
	// Blocks is the instant when the finding begins to block, if it only warns during the grace
	// period of its rule. Otherwise it is zero.
	Blocks time.Time `json:"blocks,omitzero"`
	// Inherited means that the finding only warns because the current approved image has it too.
	Inherited bool `json:"inherited,omitempty"`
	// Check is the key of the unmet condition of a rule about the image or its provenance, such as
	// "notRoot" or "signature".
	Check string `json:"check,omitempty"`
	// Unevaluated means that the rule could not be evaluated. Exceptions do not cover this.
	Unevaluated bool `json:"unevaluated,omitempty"`
	// Expired lists the exceptions that used to cover the violation.
	Expired []Exception `json:"expired,omitempty"`
}

// effectKey returns the key in the file whose effect decides about v: the key of the rule, or of
// the reason inside it.
func (v *Violation) effectKey() string {
	switch {
	case v.Unknown != nil:
		return v.Rule + "." + coverage.ClassKey(v.Unknown.Class)
	case v.Unmatched != nil:
		return v.Rule + "." + coverage.ReasonKey(v.Unmatched.Reason)
	}
	return v.Rule
}

// CanBeExcepted reports whether an exception could cover v: by the id of the vulnerability, or
// otherwise by the name of the rule.
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
