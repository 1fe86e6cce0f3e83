package policy

import (
	"fmt"
	"slices"
	"time"
)

// Decision is the outcome of judging one Input. The zero value is a denial.
//
// Every finding of the input is in exactly one of Violations, Warnings,
// Excepted, NotAffected and Allowed. Of several rules that match a finding the first that
// blocks now decides, else the one whose grace ends first, else the first that
// would block were the finding not inherited, else the first that warns.
//
// Evaluate leaves none of the lists nil and orders them: what is about the whole
// image first, then platform by platform, findings by severity with unknown
// before critical; the order of the input does not show.
type Decision struct {
	// Passed is true only if there is no violation at all.
	Passed bool `json:"passed"`
	// Violations block; all of them are listed, never only the first.
	Violations []Violation `json:"violations"`
	// Warnings were matched by a rule whose effect is to warn or whose grace
	// has not ended, or are inherited, or say something about the policy
	// itself, such as an exception that nothing used.
	Warnings []Violation `json:"warnings"`
	// Excepted lists what would block but for an exception.
	Excepted []Excepted `json:"excepted"`
	// NotAffected lists the findings that a rule matched, and that a VEX
	// statement took away.
	NotAffected []NotAffected `json:"notAffected"`
	// Provenance says what the rules about provenance were content with, each
	// with one attestation for a platform.
	Provenance []Vouched `json:"provenance,omitempty"`
	// Allowed lists the findings that no rule matched.
	Allowed []Allowed `json:"allowed"`
	// Until is the first instant at which the same input under the same
	// policy might be judged differently: an exception in use expires, a grace
	// ends, the database or the image becomes too old, a distribution reaches its
	// end of life. Zero means never. Up to it Evaluate returns this very
	// Decision; a result must not be reused from that instant on.
	Until time.Time `json:"until,omitzero"`
	// Momentary is set where a custom rule reads the clock: what it says may
	// differ at any later instant, and the result must not be reused.
	Momentary bool `json:"momentary,omitempty"`
}

// Effect is what a rule does with what it matches. The zero value is Block.
type Effect uint8

const (
	// Block denies the image.
	Block Effect = iota
	// Warn reports and lets pass.
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

// UnmarshalText accepts "block" and "warn" and nothing else.
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

// Kind is what a violation is about. Reports group by it.
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
	KindImage         Kind = "image" // how the image is made
	KindProvenance    Kind = "provenance"
	KindScope         Kind = "scope" // the policy is not for the image
)

// Violation is one reason to deny, or, in Decision.Warnings, to warn.
type Violation struct {
	Kind Kind `json:"kind"`
	// Rule is the name of the rule, or the path of the built-in one in the
	// policy file, such as "database.maxAge".
	Rule string `json:"rule"`
	// Position is where the rule stands; zero for a default that the policy
	// does not spell out.
	Position Position `json:"position,omitzero"`
	// Scope are the patterns of the override for some images from which the rule
	// comes, empty where it is the policy's own. Position is then that of the
	// override, unless the rule has one itself.
	Scope string `json:"scope,omitempty"`
	// Platform is empty where the violation is about the whole image.
	Platform string `json:"platform,omitempty"`
	// Message says what is wrong in one sentence, without a trailing stop.
	// It may quote text from the image: sanitise it before printing.
	Message string `json:"message"`

	Finding *Finding `json:"finding,omitempty"`
	// Package is the package that a rule about licenses or packages is about.
	Package   *Package   `json:"package,omitempty"`
	Unknown   *Unknown   `json:"unknown,omitempty"`
	Uncovered *Uncovered `json:"uncovered,omitempty"`
	// Blocks is the instant from which the finding blocks, where it only warns
	// because the grace of its rule has not ended; else zero.
	Blocks time.Time `json:"blocks,omitzero"`
	// Inherited: the finding only warns because the image under the approved
	// tag has it too.
	Inherited bool `json:"inherited,omitempty"`
	// Check is the key of a rule about the image or its provenance that is not met,
	// such as "notRoot" or "signature".
	Check string `json:"check,omitempty"`
	// Unjudged: the rule could not be evaluated. No exception covers that.
	Unjudged bool `json:"unjudged,omitempty"`
	// Expired are the exceptions that used to cover it.
	Expired []Exception `json:"expired,omitempty"`
}

// effectKey is the key in the file whose effect decides about v: that of the rule, or
// of the reason below it.
func (v *Violation) effectKey() string {
	switch {
	case v.Unknown != nil:
		return v.Rule + "." + v.Unknown.Class.key()
	case v.Uncovered != nil:
		return v.Rule + "." + v.Uncovered.Reason.key()
	}
	return v.Rule
}

// CanBeExcepted reports whether an exception could cover v: one for the id of the
// vulnerability, or else one for the rule.
func (v *Violation) CanBeExcepted() bool {
	if v.Unjudged {
		return false
	}
	switch v.Kind {
	case KindVulnerability:
		return v.Finding != nil
	case KindDatabase, KindDistribution, KindCoverage, KindSBOM:
		return slices.Contains(builtInRules, v.Rule)
	case KindEvidence, KindException, KindScope:
		return false
	}
	return true
}

// Excepted is a violation that would block, and the exception that covers it.
// It is about a finding, or, where the exception names a rule, about what that
// rule says; Finding is nil then.
type Excepted struct {
	Violation
	Exception Exception `json:"exception"`
}

// NotAffected is a finding that would block or warn, and the statement that says
// why it need not.
type NotAffected struct {
	Violation
	Statement VEXStatement `json:"statement"`
}

// Allowed is a finding that no rule matched.
type Allowed struct {
	Platform string  `json:"platform"`
	Finding  Finding `json:"finding"`
}
