package gate

import (
	"time"

	"github.com/imagegate/imagegate/policy"
)

// Approval is the proof that an image passed. Only this package can make one,
// from a decision that passed; the zero value proves nothing and is refused.
type Approval struct {
	result *Result
	policy *policy.Policy
	tool   Tool
}

// approve returns nil for a denial.
func approve(opts Options, r *Result) *Approval {
	if !r.Decision.Passed || len(r.Decision.Violations) > 0 || len(r.Image.Platforms) == 0 {
		return nil
	}
	return &Approval{result: r, policy: opts.Policy, tool: opts.Tool}
}

// Valid reports whether the approval came from a pass.
func (a *Approval) Valid() bool { return a != nil && a.result != nil }

// Image is what passed, with its verified bytes.
func (a *Approval) Image() *Image { return a.result.Image }

// SBOMs has one for each platform, in the order of Image().Platforms.
func (a *Approval) SBOMs() []*SBOM { return a.result.SBOMs }

// Input is the evidence that was judged.
func (a *Approval) Input() policy.Input { return a.result.Input }

// Decision is how it was judged.
func (a *Approval) Decision() policy.Decision { return a.result.Decision }

// Policy is by what it was judged.
func (a *Approval) Policy() *policy.Policy { return a.policy }

// Tool is who judged.
func (a *Approval) Tool() Tool { return a.tool }

// Times returns when the check started and finished.
func (a *Approval) Times() (started, finished time.Time) {
	return a.result.Started, a.result.Finished
}
