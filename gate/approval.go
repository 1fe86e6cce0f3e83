package gate

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/policy"
)

// Approval is the proof that an image passed. Only this package can make one,
// from a decision that passed; the zero value proves nothing and is refused.
type Approval struct {
	result   *Result
	policies policy.Set
	tool     Tool
	// digests are those of the image and its platforms as they were judged.
	// What the accessors hand out belongs to the caller too, who might change
	// it; [Approval.Confirm] holds it against these.
	digests []v1.Hash
}

// approve returns nil for a denial.
func approve(opts Options, r *Result) *Approval {
	if !r.Decision.Passed || len(r.Decision.Violations) > 0 || len(r.Image.Platforms) == 0 {
		return nil
	}
	a := &Approval{result: r, policies: opts.Policies, tool: opts.Tool, digests: []v1.Hash{r.Image.Digest}}
	for _, p := range r.Image.Platforms {
		a.digests = append(a.digests, p.Digest)
	}
	return a
}

// Confirm recomputes the digests of everything that would be promoted, and
// returns an error unless they are those that were judged.
func (a *Approval) Confirm() error {
	img := a.result.Image
	if len(a.digests) != len(img.Platforms)+1 || len(a.result.SBOMs) != len(img.Platforms) || len(a.result.Input.Platforms) != len(img.Platforms) {
		return errors.New("the approval is for another number of platforms")
	}
	check := func(what string, want v1.Hash, raw []byte, also ...string) error {
		got, _, err := v1.SHA256(bytes.NewReader(raw))
		if err != nil {
			return err
		}
		also = append(also, got.String())
		for _, digest := range also {
			if digest != want.String() {
				return fmt.Errorf("the approval is for %s %s, not for %s", what, want, digest)
			}
		}
		return nil
	}
	if err := check("image", a.digests[0], img.Manifest, img.Digest.String(), a.result.Input.Image.Digest); err != nil {
		return err
	}
	for i, p := range img.Platforms {
		raw, err := p.Image.RawManifest()
		if err != nil {
			return err
		}
		if err := check("platform "+p.Name, a.digests[i+1], raw, p.Digest.String(), a.result.SBOMs[i].Digest.String(),
			a.result.Input.Platforms[i].Digest); err != nil {
			return err
		}
	}
	return nil
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

// Policies are by what it was judged.
func (a *Approval) Policies() policy.Set { return a.policies }

// Tool is who judged.
func (a *Approval) Tool() Tool { return a.tool }

// Times returns when the check started and finished.
func (a *Approval) Times() (started, finished time.Time) {
	return a.result.Started, a.result.Finished
}
