package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/units"
)

// outcomeNames are the names of the outcomes in machine-readable formats.
var outcomeNames = [...]string{"undecided", "denied", "unfinished", "passed", "passedEarlier", "overridden", "signatureOnly"}

// String returns the name of the outcome in machine-readable formats, such as "passedEarlier".
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// IsPass reports whether a run with this outcome exits with 0. That includes an override, because
// the image was promoted, or verified, as the policy allows. It is false for an unfinished run.
func (o Outcome) IsPass() bool {
	return o == Passed || o == PassedEarlier || o == Overridden || o == SignatureOnly
}

// IsFailure reports whether the run failed because of a tool or a service. Such a run says nothing
// about the image.
func (o Outcome) IsFailure() bool { return o == Undecided || o == Unfinished }

// Verdict is the result of a run in the words that every format uses.
type Verdict struct {
	Outcome Outcome
	// Word is PASSED, PASSED EARLIER, SIGNED, OVERRIDDEN, DENIED or FAILED. FAILED is the failure
	// of a tool or a service, never a denial.
	Word string
	// Why is the reason in one sentence, without a full stop and without markup, safe to print on
	// one line. For a failure, it contains the first line of the error.
	Why    string
	Counts Counts
	// Until is the first time when the decision can change without a new image. It is zero if the
	// decision never changes, if the image did not pass, and for an evaluation at a future time.
	Until time.Time
}

// Verdict returns the result of the run.
func (r Report) Verdict() Verdict {
	v := Verdict{Outcome: r.Outcome(), Counts: r.Counts()}
	switch v.Outcome {
	case Denied:
		v.Word, v.Why = "DENIED", r.problems(v.Counts)
	case Overridden:
		v.Word = "OVERRIDDEN"
		v.Why = fmt.Sprintf("denied, but an override allows the image until %s: %s", units.Instant(r.Override.Expires), r.overridden(v.Counts))
	case Passed:
		v.Word, v.Why = "PASSED", passedWhy(v.Counts)
		if r.At.IsZero() {
			v.Until = r.Decision.Until
		}
	case PassedEarlier:
		v.Word, v.Why = "PASSED EARLIER", "a signed decision was found and verified; the image was not evaluated again"
	case SignatureOnly:
		v.Word, v.Why = "SIGNED", "a trusted signature was found and verified; the decision was not checked"
	case Unfinished:
		v.Word, v.Why = "FAILED", "the image passed, but a later step failed"+r.failure()
		if r.Denies() {
			v.Why = "the image is denied, and a later step failed" + r.failure()
		}
	default:
		v.Word, v.Why = "FAILED", "no decision was made, so the image did not pass"+r.failure()
		if r.Command == "verify" {
			v.Why = "the image was not verified" + r.failure()
		}
	}
	return v
}

// problems describes the reason for a denial, as in "28 problems in 22 packages: 27 have a fix, 1
// has none".
func (r Report) problems(c Counts) string {
	if c.Blocking == 0 {
		return "no violation is listed, but the image did not pass"
	}
	fixable, unfixable, _ := splitByFix(merge(r.Decision.Violations))
	why := units.Count(c.Blocking, "problem")
	if c.Packages > 0 {
		why += " in " + units.Count(c.Packages, "package")
	}
	if found := len(fixable) + len(unfixable); found == 0 {
		return why
	} else if other := c.Blocking - found; other > 0 {
		why = fmt.Sprintf("%s: %s in %s and %d other", units.Count(c.Blocking, "problem"), units.Count(found, "vulnerability"), units.Count(c.Packages, "package"), other)
	}
	var fixes []string
	if n := len(fixable); n > 0 {
		fixes = append(fixes, has(n)+" a fix")
	}
	if n := len(unfixable); n > 0 {
		fixes = append(fixes, has(n)+" none")
	}
	separator := ": "
	if strings.Contains(why, ": ") {
		separator = "; "
	}
	return why + separator + strings.Join(fixes, ", ")
}

// overridden describes how many problems an override lets through. If this run made no decision, it
// counts the violations in the override itself.
func (r Report) overridden(c Counts) string {
	if r.Decision == nil {
		return units.Count(len(Covered(r.Override)), "violation")
	}
	return units.Count(c.Blocking, "problem")
}

func has(n int) string {
	if n == 1 {
		return "1 has"
	}
	return fmt.Sprintf("%d have", n)
}

// passedWhy describes a pass, as in "nothing blocks, 11 warnings, 2 excepted, 1 not affected".
func passedWhy(c Counts) string {
	why := "nothing blocks"
	if c.Warnings > 0 {
		why += ", " + units.Count(c.Warnings, "warning")
	}
	if c.Excepted > 0 {
		why += fmt.Sprintf(", %d excepted", c.Excepted)
	}
	if c.NotAffected > 0 {
		why += fmt.Sprintf(", %d not affected", c.NotAffected)
	}
	return why
}

// failure returns the class and the first line of the error.
func (r Report) failure() string {
	if r.Error == nil {
		return ""
	}
	what := ": " + short(string(r.Error.Class)) + " error"
	if all := layout.Lines(r.Error.Message); len(all) > 0 {
		what += ": " + all[0]
	}
	return what
}
